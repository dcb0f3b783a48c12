"""Alarms of vCenter: their definitions, and their states on objects."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.schema import answers
from lab.vsphere.faults import not_found
from lab.vsphere.vim.managed import Managed, numbers, uuid_of

ALARMS = (
    "alarm.HostConnectionFailure", "alarm.HostRecoveryKeyBackup",
    "alarm.HostRequiresEncryptionMode", "alarm.HostTpmAttestation", "alarm.KeyServerHealth",
    "alarm.NativeKeyProviderNotBackedUp", "alarm.VmLocked", "alarm.VsanEncryptionHealth",
)  # fmt: skip
"""All alarms of a lab."""
_WARNINGS = frozenset({"alarm.HostRecoveryKeyBackup"})
"""Alarms that are yellow: something is to be done, and nothing has failed."""


def color(alarm: str) -> str:
    """The status of an object on which an alarm is on."""
    return "yellow" if alarm in _WARNINGS else "red"


_NAMES = {f"alarm-{number}": name for name, number in numbers(ALARMS).items()}
_IDS = {name: object_id for object_id, name in _NAMES.items()}


def alarm_ref(name: str) -> Any:
    """The reference of an alarm's definition."""
    return vim.alarm.Alarm(_IDS[name])


def state_at_definition(entity: Any, name: str) -> Any:
    """An alarm as the object shows it at which it is defined: the worst color below."""
    on = any(alarm.alarm == name for alarm in entity.inventory.snapshot.alarms)
    return vim.alarm.AlarmState(
        key=f"{_IDS[name]}.{entity.id}", entity=entity.ref, alarm=alarm_ref(name),
        overallStatus=color(name) if on else "green", time=entity.inventory.snapshot.now(),
        acknowledged=False,
    )  # fmt: skip


def state(entity: Any, alarm: answers.Alarm) -> Any:
    """An alarm that is on, as ``AlarmState``. Nobody has acknowledged it."""
    definition = alarm_ref(alarm.alarm)
    return vim.alarm.AlarmState(
        key=f"{definition._moId}.{entity.id}",
        entity=entity.ref,
        alarm=definition,
        overallStatus=color(alarm.alarm),
        time=entity.inventory.snapshot.now(),
        acknowledged=False,
    )


class AlarmDefinition(Managed):
    """The definition of an alarm."""

    kind = vim.alarm.Alarm
    properties = {
        "info.key": lambda a: a.id,
        "info.alarm": lambda a: a.ref,
        "info.entity": lambda a: vim.Folder("group-d1"),
        "info.lastModifiedTime": lambda a: 0.0,
        "info.lastModifiedUser": lambda a: "",
        "info.creationEventId": lambda a: 0,
        "info.name": lambda a: a.name,
        "info.systemName": lambda a: a.name,
        "info.description": lambda a: a.name,
        "info.enabled": lambda a: True,
        "info.expression": lambda a: vim.alarm.OrAlarmExpression(
            expression=[vim.alarm.EventAlarmExpression(eventType=vim.event.EventEx)]
        ),
        "info.setting": lambda a: vim.alarm.AlarmSetting(toleranceRange=0, reportingFrequency=0),
    }

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        if object_id not in _NAMES:
            raise not_found(vim.alarm.Alarm, object_id)
        self.name = _NAMES[object_id]


__all__ = ["AlarmDefinition", "alarm_ref", "state", "uuid_of"]
