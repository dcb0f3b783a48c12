"""What a sync that fails leaves behind: contents that can be read, and no later sync carries."""

from __future__ import annotations

from services.runtime.sim.disk import Images

PATH = "folder/file"


def disk(synced: bytes) -> Images:
    images = Images()
    images.write(PATH, synced)
    images.sync(PATH)
    images.sync_folder("folder")
    images.sync_folder("")
    return images


def after_power_loss(images: Images) -> bytes:
    return images.after_power_loss().read(PATH)


def test_what_a_failed_sync_was_to_carry_no_later_one_carries() -> None:
    images = disk(b"old")
    images.append(PATH, b"+lost")
    images.lose_unsynced(PATH)
    assert images.read(PATH) == b"old+lost"
    images.sync(PATH)
    assert after_power_loss(images) == b"old" + bytes(5)
    images.append(PATH, b"+new")
    images.sync(PATH)
    assert (images.read(PATH), after_power_loss(images)) == (
        b"old+lost+new",
        b"old" + bytes(5) + b"+new",
    )


def test_what_is_written_again_is_carried() -> None:
    images = disk(b"old")
    images.write(PATH, b"other")
    images.lose_unsynced(PATH)
    images.sync(PATH)
    assert after_power_loss(images) == bytes(5)
    images.write(PATH, b"other")
    images.sync(PATH)
    assert after_power_loss(images) == b"other"


def test_a_sync_that_failed_twice_loses_what_came_between_as_well() -> None:
    images = disk(b"a")
    for piece in (b"b", b"c"):
        images.append(PATH, piece)
        images.lose_unsynced(PATH)
    images.sync(PATH)
    assert after_power_loss(images) == b"a\0\0"
