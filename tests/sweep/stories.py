"""The stories of the sweep, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.sweep.custody import KeyServerCustody
from tests.sweep.first_boot import FirstBoot
from tests.sweep.keystore import KeyStore
from tests.sweep.kms import KeyServer, KeyServerPair
from tests.sweep.native import NativeProvider
from tests.sweep.story import Story
from tests.sweep.vcenter import VCenterDatabase

STORIES: Final[Mapping[str, Story]] = {
    story.name: story
    for story in (
        KeyStore(),
        VCenterDatabase(),
        NativeProvider(),
        KeyServer(),
        KeyServerPair(),
        KeyServerCustody(),
        FirstBoot(),
    )
}
