"""How much room there is: of a disk, a host, a container."""

import pytest

from triptych.core.room import free_disk_bytes, free_memory_bytes, total_memory_bytes

MIB = 1024 * 1024


@pytest.fixture
def machine(tmp_path):
    """Says what a kernel with 8 GiB available and these files of a cgroup would."""

    def readings(**cgroup):
        (tmp_path / "meminfo").write_text("MemTotal:  16777216 kB\nMemAvailable:  8388608 kB\nHugePages_Total:  0\n")
        for name, text in cgroup.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return tmp_path / "meminfo", tmp_path

    return readings


def test_a_host_has_what_is_available_and_not_what_is_unused(machine):
    assert free_memory_bytes(*machine()) == 8192 * MIB


def test_a_container_has_no_more_than_its_limit_leaves(machine):
    stat = f"anon {100 * MIB}\nactive_file {20 * MIB}\ninactive_file {80 * MIB}\n"
    readings = machine(memory_max=f"{512 * MIB}\n", memory_current=f"{300 * MIB}\n", memory_stat=stat)
    assert free_memory_bytes(*readings) == (512 - 300 + 20 + 80) * MIB


def test_a_container_has_no_more_than_its_host(machine):
    stat = "active_file 0\ninactive_file 0\n"
    readings = machine(memory_max=f"{64 * 1024 * MIB}\n", memory_current="0\n", memory_stat=stat)
    assert free_memory_bytes(*readings) == 8192 * MIB


def test_a_container_without_a_limit_has_what_its_host_has(machine):
    assert free_memory_bytes(*machine(memory_max="max\n")) == 8192 * MIB


def test_all_there_is_is_the_hosts_or_less_in_a_container(machine):
    assert total_memory_bytes(*machine()) == 16384 * MIB
    assert total_memory_bytes(*machine(memory_max="max\n")) == 16384 * MIB
    assert total_memory_bytes(*machine(memory_max=f"{64 * 1024 * MIB}\n")) == 16384 * MIB
    assert total_memory_bytes(*machine(memory_max=f"{512 * MIB}\n")) == 512 * MIB


def test_a_system_that_does_not_say_is_not_guessed_at(tmp_path):
    assert free_memory_bytes(tmp_path / "meminfo", tmp_path) is None
    assert total_memory_bytes(tmp_path / "meminfo", tmp_path) is None


def test_this_machine_says_it():
    assert total_memory_bytes() > free_memory_bytes() > 0


def test_a_folder_that_is_still_to_come_has_the_room_of_the_one_it_will_lie_in(small_disk):
    small_disk.fill(leave_bytes=MIB)
    assert free_disk_bytes(small_disk.path / "some" / "blobs") == MIB
