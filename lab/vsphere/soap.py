"""vim25 over SOAP: an envelope to a call, a result or a fault to an envelope.

Types come from pyVmomi's tables. pyVmomi writes as a client does; where a server has to write
otherwise, ``_Writer`` says how. Input is untrusted: no DTD, bounded in size, depth and elements.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from pyVmomi import SoapAdapter as adapter
from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl
from pyVmomi.Iso8601 import ISO8601Format

from lab.vsphere.faults import invalid_property, not_served
from lab.vsphere.vim.managed import ObjectProperties, RetrievedProperties, SharedUpdates

DEPTH_LIMIT = 64
ELEMENT_LIMIT = 50_000
_NAMESPACE = "urn:vim25"
_FETCH = support.Object(
    name="Fetch",
    wsdlName="Fetch",
    version=support.BASE_VERSION,
    result=object,
    resultFlags=support.F_OPTIONAL,
    params=(support.Object(name="prop", type=str, version=support.BASE_VERSION, flags=0),),
)
_UNREADABLE = (
    ExpatError, KeyError, StopIteration, AttributeError, TypeError, ValueError, IndexError,
    RecursionError, OverflowError, AssertionError,
)  # fmt: skip


PC = vmodl.query.PropertyCollector
KEPT_PATHS = 4_096
_OBJECTS = (support.ManagedObject, support.DataObject)


def check_call(info: Any, kind: str, arguments: dict[str, Any], version: str) -> None:
    """Refuse what came after ``version``: a method with ``MethodNotFound``, an argument or one of
    its fields with ``InvalidRequest``, a property with ``InvalidProperty``."""
    check_method(info, version)
    for parameter in info.params:
        value = arguments.get(parameter.name)
        if value is None:
            continue
        check_field(parameter, version)
        _check_value(value, version)
    if info.wsdlName == "Fetch":
        _check_path(kind, arguments.get("prop", ""), version)


def check_method(info: Any, version: str) -> None:
    """``MethodNotFound`` for a method that came later."""
    if not support.IsChildVersion(version, info.version):
        raise not_served(info.wsdlName)


def check_field(info: Any, version: str) -> None:
    """``InvalidRequest`` for an argument or a field that came later."""
    if not support.IsChildVersion(version, info.version):
        raise vmodl.fault.InvalidRequest(
            msg=f"the request cannot be read: this version of the API does not have {info.name}"
        )


def _check_value(value: Any, version: str) -> None:
    if isinstance(value, list):
        for one in value:
            _check_value(one, version)
    elif isinstance(value, PC.PropertySpec):
        for path in value.pathSet or ():
            _check_path(getattr(value.type, "_wsdlName", ""), path, version)
    elif isinstance(value, support.DataObject):
        for field in value._GetPropertyList():
            held = getattr(value, field.name)
            if held is None or (isinstance(held, list) and not held):
                continue
            check_field(field, version)
            _check_value(held, version)


def _check_path(kind: str, path: str, version: str) -> None:
    if len(path) > 200:  # no property is as long: the object refuses it
        return
    for came in _versions_of(kind, path):
        if not support.IsChildVersion(version, came):
            raise invalid_property(path)


@functools.lru_cache(KEPT_PATHS)
def _versions_of(kind: str, path: str) -> tuple[str, ...]:
    """The versions with which the parts of a path came, as far as it leads in the tables."""
    found: list[str] = []
    try:
        holder = support.GetWsdlType("urn:vim25", kind)
        for part in path.split("."):
            info = holder._GetPropertyInfo(part)
            found.append(info.version)
            holder = info.type
    except (KeyError, AttributeError):
        pass  # an unknown type or property, or one of a subclass: the object knows
    return tuple(found)


@dataclass
class Call:
    """One request: the object that is asked, the method, its arguments by name."""

    kind: str = ""
    id: str = ""
    info: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def name(self) -> str:
        """The method's name in the WSDL."""
        return str(self.info.wsdlName)


def newest(release: str) -> str:
    """pyVmomi's name of an API version such as ``8.0.3.0``; ``ValueError`` for an unknown one."""
    try:
        return str(support.GetVersionFromVersionUri(f"{_NAMESPACE}/{release}"))
    except (KeyError, IndexError):
        raise ValueError(f"{release} is no version of the API that is known") from None


def version_of(action: str, served: str) -> str:
    """What a SOAPAction such as ``"urn:vim25/9.1.0.0"`` asks for, never newer than ``served``."""
    try:
        asked = str(support.GetVersionFromVersionUri(action.strip('"')))
    except (KeyError, IndexError):
        return served
    return asked if support.IsChildVersion(served, asked) else served


def _unreadable(text: str) -> Any:
    return vmodl.fault.InvalidRequest(msg=f"the request cannot be read: {text}")


def _check_shape(body: bytes) -> None:
    """Refuse a body that is too deep, too large or has a DTD, before anything is made of it."""
    if body.count(b"<") <= DEPTH_LIMIT and b"!" not in body:
        return  # too short for any of it
    depth = elements = 0
    parser = ParserCreate()

    def start(_name: str, _attributes: Any) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > DEPTH_LIMIT or elements > ELEMENT_LIMIT:
            raise _unreadable("it has too many elements, or they lie too deep")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: Any) -> None:
        raise _unreadable("it has a DTD")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = doctype
    parser.Parse(body, True)


class _Reader(adapter.ExpatDeserializerNSHandlers):  # type: ignore[misc]
    """Envelope, Body and method; each argument is read by pyVmomi's deserializer."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self.call = Call(version=version)
        self.depth, self.body = 0, False
        self.parts: list[tuple[str, Any, Any]] = []
        self.parser = ParserCreate(namespace_separator=adapter.NS_SEP)
        self.parser.buffer_text = True
        adapter.SetHandlers(self.parser, adapter.GetHandlers(self))

    def StartElementHandler(self, tag: str, attr: Any) -> None:
        namespace, _, name = tag.rpartition(adapter.NS_SEP)
        if self.depth == 1:
            self.body = name == "Body"
        elif self.body and self.depth == 2:
            self.call.info = find_method(namespace, name)
            check_method(self.call.info, self.call.version)
        elif self.body and self.depth == 3:
            self._start_argument(name, tag, attr)
            return  # its end is seen by the argument's own reader
        self.depth += 1

    def _start_argument(self, name: str, tag: str, attr: Any) -> None:
        if name == "_this":
            self.call.kind, kind = attr.get("type", ""), support.ManagedObject
        else:
            found = next((p for p in self.call.info.params if p.name == name), None)
            if found is None:
                raise _unreadable(f"{self.call.name} has no argument {name}")
            check_field(found, self.call.version)
            kind = found.type
        item = kind.Item if issubclass(kind, list) else kind
        one = adapter.SoapDeserializer(version=self.call.version)
        one.Deserialize(self.parser, item, nsMap=self.nsMap)
        one.StartElementHandler(tag, attr)
        self.parts.append((name, kind, one))

    def EndElementHandler(self, _tag: str) -> None:
        self.depth -= 1

    def CharacterDataHandler(self, _data: str) -> None:
        pass


def find_method(namespace: str, name: str) -> Any:
    """A method by its name in the WSDL; ``MethodNotFound`` where there is none."""
    if name == "Fetch":
        return _FETCH
    for place in (namespace or _NAMESPACE, _NAMESPACE):  # esxcli asks in a namespace of its own
        try:
            return support.GetWsdlMethod(place, name).info
        except KeyError:
            continue
    raise not_served(name)


def read_call(body: bytes, version: str) -> Call:
    """The call in an envelope. Raises ``InvalidRequest`` or ``MethodNotFound``."""
    reader = _Reader(version)
    try:
        _check_shape(body)
        reader.parser.Parse(body, True)
        call = reader.call
        for name, kind, one in reader.parts:
            result = one.GetResult()
            if name == "_this":
                call.id = str(result._moId)
            elif issubclass(kind, list):
                call.arguments.setdefault(name, kind()).append(result)
            else:
                call.arguments[name] = result
    except _UNREADABLE as error:
        raise _unreadable(f"{type(error).__name__}") from None
    finally:
        _release(reader.parser)
        reader.parts.clear()  # readers of arguments, which hold this one
    if call.info is None or not call.id:
        raise _unreadable("it names no object or no method")
    complete(call)
    return call


def complete(call: Call) -> None:
    """Give empty lists, which nothing stands for in an envelope; ``InvalidRequest`` without a
    required argument. Refuses what the version of the call does not have (``check_call``)."""
    check_call(call.info, call.kind, call.arguments, call.version)
    for parameter in call.info.params:
        if parameter.name in call.arguments:
            check_whole(call.arguments[parameter.name], parameter, call.version)
        if parameter.name in call.arguments or parameter.flags & support.F_OPTIONAL:
            continue
        if not issubclass(parameter.type, list):
            raise _unreadable(f"{call.name} needs {parameter.name}")
        call.arguments[parameter.name] = parameter.type()


def check_whole(value: Any, declared: Any, version: str) -> None:
    """Refuse a reference or a data object of another type than its place has, and a data object
    without a part that its type requires. An empty list is a list.

    pyVmomi checks what becomes a field, and neither arguments nor items of lists."""
    kind = declared.type.Item if issubclass(declared.type, list) else declared.type
    if isinstance(value, list):
        for one in value:
            check_whole(one, declared, version)
    elif issubclass(kind, _OBJECTS) and not isinstance(value, kind):
        raise _unreadable(f"{declared.name} is no {kind._wsdlName}")
    elif isinstance(value, support.DataObject):
        for part in value._GetPropertyList():
            held = getattr(value, part.name)
            if held is not None:
                check_whole(held, part, version)
            elif not part.flags & support.F_OPTIONAL and support.IsChildVersion(
                version, part.version
            ):
                name = type(value)._wsdlName
                raise _unreadable(f"a {name} needs {part.name}")


def read_text(text: str, kind: Any) -> Any:
    """The value of one element that is carried as text; ``InvalidRequest`` if it is no ``kind``."""
    data = text.encode()
    parser, reader = ParserCreate(namespace_separator=adapter.NS_SEP), adapter.SoapDeserializer()
    try:
        _check_shape(data)
        reader.Deserialize(parser, kind)
        parser.Parse(data, True)
        return reader.GetResult()
    except _UNREADABLE as error:
        raise _unreadable(f"{type(error).__name__}") from None
    finally:
        _release(parser)


def _release(parser: Any) -> None:
    """Let go of a parser, which its handlers hold, at once: it has memory that the garbage
    collector does not count."""
    adapter.SetHandlers(parser, (None,) * 5)


class _Writer(adapter.SoapSerializer):  # type: ignore[misc]
    """As a vCenter writes: references and items of lists inside an Any with their type, no version
    on the answer, nothing for an empty list."""

    def __init__(self, out: StringIO, version: str) -> None:
        super().__init__(out, version, adapter.SOAP_NSMAP | {_NAMESPACE: ""})
        self.outermostAttrs = ""

    def _Serialize(self, val: Any, info: Any, defNS: str) -> None:
        if isinstance(val, support.ManagedObject):
            if support.IsChildVersion(self.version, info.version):
                self._write_reference(val, info)
        elif isinstance(val, RetrievedProperties):
            for content in val.objects:
                self.writer.write(_content_text(content, info.name, self.version))
        elif isinstance(val, list) and not val and info.type is not object:
            return
        elif isinstance(val, SharedUpdates):
            self._write_shared(val, info, defNS)
        else:
            if isinstance(val, vmodl.DynamicData) and info.name == type(val)._wsdlName:
                info = support.Object(
                    name=info.name, type=object, version=info.version, flags=info.flags
                )
            super()._Serialize(val, info, defNS)

    def _write_shared(self, val: SharedUpdates, info: Any, space: str) -> None:
        """Write once what many clients get."""
        key = (self.version, info.name)
        if key not in val.texts:
            own: Any = self.writer
            self.writer: Any = StringIO()
            try:
                super()._Serialize(val, info, space)
                val.texts[key] = self.writer.getvalue()
            finally:
                self.writer = own
        self.writer.write(val.texts[key])

    def write_fault_detail(self, error: Any, info: Any) -> None:
        """A fault as the content of ``detail``."""
        self._SerializeDataObject(error, info, f' xmlns="{_NAMESPACE}"', self.defaultNS)

    def _write_reference(self, val: Any, info: Any) -> None:
        any_of = info.type is object or info.name == "ManagedObjectReference"
        typed = ' xsi:type="ManagedObjectReference"' if any_of else ""
        kind = type(val)._wsdlName
        self.writer.write(
            f'<{info.name}{typed} type="{kind}">{adapter.XmlEscape(val._moId)}</{info.name}>'
        )


def _write(value: Any, info: Any, version: str) -> str:
    out = StringIO()
    _Writer(out, version).Serialize(value, info)
    return out.getvalue()


_ANY = support.Object(
    name="val", type=object, version=support.BASE_VERSION, flags=support.F_OPTIONAL
)
_PLAIN = {str: "xsd:string", int: "xsd:int", support.long: "xsd:long", support.short: "xsd:short"}


def value_text(value: Any, version: str) -> str:
    """A property's value as ``<val>``, with its type."""
    kind = type(value)
    if kind is bool:
        return f'<val xsi:type="xsd:boolean">{"true" if value else "false"}</val>'
    if kind in _PLAIN:
        text = adapter.XmlEscape(value) if kind is str else value
        return f'<val xsi:type="{_PLAIN[kind]}">{text}</val>'
    if isinstance(value, support.Enum):
        return f'<val xsi:type="{kind._wsdlName}">{value}</val>'
    if isinstance(value, support.datetime):
        return f'<val xsi:type="xsd:dateTime">{ISO8601Format(value)}</val>'
    return _write(value, _ANY, version)


_MISSING = support.Object(
    name="missingSet", type=vmodl.query.PropertyCollector.MissingProperty,
    version=support.BASE_VERSION, flags=0,
)  # fmt: skip


def missing_property(path: str, fault: Any) -> Any:
    """A property that could not be read, and why."""
    localized = vmodl.LocalizedMethodFault(fault=fault, localizedMessage=fault.msg)
    return vmodl.query.PropertyCollector.MissingProperty(path=path, fault=localized)


def _content_text(content: ObjectProperties, name: str, version: str) -> str:
    """An ``ObjectContent``, written directly: thousands of them are one answer."""
    properties = "".join(
        f"<propSet><name>{path}</name>{content.text(path, version, value_text)}</propSet>"
        for path in content.paths
    )
    kind = content.kind._wsdlName
    missing = "".join(
        _write(missing_property(path, fault), _MISSING, version) for path, fault in content.missing
    )
    return f'<{name}><obj type="{kind}">{content.id}</obj>{properties}{missing}</{name}>'


def write_answer(call: Call, value: Any) -> bytes:
    """The envelope of a result. ``RetrievedProperties`` become the result of the collector's
    methods."""
    name, text = call.name, ""
    if isinstance(value, RetrievedProperties):
        text = _contents_text(call, value)
    elif value is not None:
        result = call.info.result
        if isinstance(value, list) and issubclass(result, list):
            value = result(value)
        info = support.Object(
            name="returnval", type=result, version=call.version, flags=call.info.resultFlags
        )
        text = _write(value, info, call.version)
    return _envelope(f'<{name}Response xmlns="{_NAMESPACE}">{text}</{name}Response>')


def _contents_text(call: Call, value: RetrievedProperties) -> str:
    if call.name == "RetrieveProperties":
        return "".join(_content_text(one, "returnval", call.version) for one in value.objects)
    if not value.objects:
        return ""
    token = f"<token>{value.token}</token>" if value.token else ""
    objects = "".join(_content_text(one, "objects", call.version) for one in value.objects)
    return f"<returnval>{token}{objects}</returnval>"


def write_any(value: Any, version: str) -> str:
    """A value as an element by itself, with its type. Items of a list are each a ``DataObject``."""
    space, number = f' xmlns="{_NAMESPACE}"', support.versionIdMap[version]
    attributes = f'{space} xmlns:xsd="{adapter.XMLNS_XSD}" xmlns:xsi="{adapter.XMLNS_XSI}"'
    attributes += f' versionId="{number}"'
    name = "DataObject" if isinstance(value, list) else "obj"
    out = StringIO()
    writer = _Writer(out, version)
    info = support.Object(name=name, type=object, version=version, flags=support.F_OPTIONAL)
    if not isinstance(value, list):
        writer.outermostAttrs = attributes
        writer.Serialize(value, info)
        return out.getvalue()
    for one in value:
        writer.Serialize(one, info)
    return f'<obj{attributes} xsi:type="ArrayOfDataObject">{out.getvalue()}</obj>'


def write_fault(error: Any, version: str) -> bytes:
    """The envelope of a fault, in the two names that clients read: detail and text."""
    info = support.Object(
        name=type(error)._wsdlName + "Fault", type=object, version=version, flags=0
    )
    out = StringIO()
    _Writer(out, version).write_fault_detail(error, info)
    text = adapter.XmlEscape(error.msg or type(error).__name__)
    tag = adapter.SOAP_FAULT_TAG
    return _envelope(
        f"<{tag}><faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring>"
        f"<detail>{out.getvalue()}</detail></{tag}>"
    )


def _envelope(inner: str) -> bytes:
    parts: Iterable[str] = (adapter.XML_HEADER, "\n", adapter.SOAP_START, inner, adapter.SOAP_END)
    return "".join(parts).encode()


__all__ = ["Call", "newest", "read_call", "value_text", "version_of", "vim", "write_answer"]
