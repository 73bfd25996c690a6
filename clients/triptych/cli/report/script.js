// Plays a recording at a cited second, and stops where the citation ends.
for (const player of document.querySelectorAll("audio")) {
  let end = Infinity;
  player.addEventListener("timeupdate", () => {
    if (player.currentTime >= end) player.pause();
  });
  // Who stops it, or looks for another place, hears on from there.
  player.addEventListener("pause", () => { end = Infinity; });
  for (const link of document.querySelectorAll("[data-plays]")) {
    if (link.dataset.plays !== player.dataset.sound) continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      for (const other of document.querySelectorAll("audio")) other.pause();
      player.currentTime = Number(link.dataset.start);
      player.play().then(() => { end = Number(link.dataset.end); });
    });
  }
}
