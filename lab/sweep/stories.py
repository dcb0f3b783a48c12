"""The stories of the sweep, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.sweep.custody import KeyServerCustody
from lab.sweep.first_boot import FirstBoot
from lab.sweep.keystore import KeyStore
from lab.sweep.kms import KeyServer, KeyServerPair
from lab.sweep.native import NativeProvider
from lab.sweep.story import Story
from lab.sweep.vcenter import VCenterDatabase

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
