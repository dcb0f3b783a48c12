"""Every kind of finding, and what a vCenter makes of a failed connection.

Ids are part of the interface: pipelines name them. What vCenter makes of a finding is taken from
sessions of real vCenters and from what its makers publish; where neither says anything, the text
says so. Names of reasons are those of ``QueryCryptoKeyStatus`` (STD-20).
"""

from __future__ import annotations

from typing import Final

from lab.kmip.replay.findings import FindingKind, FindingLevel, PlayPhase, ServerCheck

UNREACHABLE: Final = (
    "the provider is not connected: keys have the reason KeyStateClusterUnreachable, and tasks "
    "that need one fail until a server of the provider answers"
)
UNTRUSTED_SERVER: Final = (
    "the provider is not connected until vCenter is told to trust what the server shows"
)
UNTRUSTED_CLIENT: Final = (
    "the provider is not connected until the server is told to trust what vCenter shows"
)
_LOCKED: Final = "its VMs stay locked after a reboot of their hosts"
_NOT_KNOWN: Final = "what vCenter does is not known"

# ---- what is checked -----------------------------------------------------------------------------

ADDED = ServerCheck(PlayPhase.TRUST, "the server is added to a provider")
CIPHER = ServerCheck(PlayPhase.TRUST, "version and cipher of TLS")
OLD = ServerCheck(PlayPhase.TRUST, "old versions of TLS are refused")
SERVER_CERTIFICATE = ServerCheck(PlayPhase.TRUST, "the server's certificate")
CLIENT_CERTIFICATE = ServerCheck(PlayPhase.TRUST, "the client's certificate")
OFFERED = ServerCheck(PlayPhase.TRUST, "KMIP 1.1 is offered")
NOBODY = ServerCheck(PlayPhase.TRUST, "a client without a certificate is refused")
UNKNOWN = ServerCheck(PlayPhase.TRUST, "a client with an unknown certificate is refused")
EXPIRED = ServerCheck(PlayPhase.TRUST, "a client with an expired certificate is refused")
TRUST_FLOW = ServerCheck(PlayPhase.TRUST, "an identity of a trust flow is accepted")
HEALTH = ServerCheck(PlayPhase.FLOW, "the periodic look")
CREATED = ServerCheck(PlayPhase.FLOW, "keys are made")
TAGGED = ServerCheck(PlayPhase.FLOW, "keys are tagged")
USED = ServerCheck(PlayPhase.FLOW, "keys are fetched and activated")
VALUES = ServerCheck(PlayPhase.FLOW, "values of keys")
FETCHED = ServerCheck(PlayPhase.FLOW, "keys are fetched again")
STATUS = ServerCheck(PlayPhase.FLOW, "states of keys")
MISSING = ServerCheck(PlayPhase.FLOW, "a key that is not there")
ANSWERS = ServerCheck(PlayPhase.FLOW, "answers are as KMIP 1.1 has them")
VSAN = ServerCheck(PlayPhase.FLOW, "hosts of an encrypted vSAN fetch their keys")
PRIMARY = ServerCheck(PlayPhase.FLOW, "a Key Provider Service fetches its primary key")
WRAPPED = ServerCheck(PlayPhase.FLOW, "a key of the server wraps keys of VMs")
REPLICATED = ServerCheck(PlayPhase.FAILOVER, "keys of one server are at the others")
TAKEN_OVER = ServerCheck(PlayPhase.FAILOVER, "another server goes on when one is down")
CAUGHT_UP = ServerCheck(PlayPhase.FAILOVER, "a server that comes back has what was made meanwhile")
SEPARATE = ServerCheck(PlayPhase.ISOLATION, "clients do not see the keys of each other")
STORM = ServerCheck(PlayPhase.STORM, "many hosts fetch their keys at once")

# ---- trust ---------------------------------------------------------------------------------------

SERVER_UNREACHABLE = FindingKind(
    "server-unreachable",
    ADDED,
    FindingLevel.ERROR,
    "No server of the provider answers",
    UNREACHABLE,
    "start the server, and check its address, its port and the firewalls between",
    "STD-09",
)
SERVER_DOWN = FindingKind(
    "server-down",
    ADDED,
    FindingLevel.NOTICE,
    "One server of several does not answer",
    "the provider works while another of its servers answers; an alarm tells of this one",
    "start the server, and check its address, its port and the firewalls between",
    "STD-08",
)
SERVER_NOT_TRUSTED = FindingKind(
    "server-not-trusted",
    ADDED,
    FindingLevel.ERROR,
    "The server's certificate does not lead to a trusted one",
    UNTRUSTED_SERVER,
    "give the certificate of its authority, or its own, with --ca; renew one that has expired",
    "STD-03",
)
CLIENT_NOT_TRUSTED = FindingKind(
    "client-not-trusted",
    ADDED,
    FindingLevel.ERROR,
    "The server refuses the client's certificate",
    UNTRUSTED_CLIENT,
    "have the server trust the certificate of --cert, or the authority above it",
    "STD-03",
)
SERVER_NOT_ADDED = FindingKind(
    "server-not-added",
    ADDED,
    FindingLevel.ERROR,
    "The server refuses what vCenter asks when it is added to a provider",
    "the server cannot be added: no trust is established",
    "answer Discover Versions and Query of Server Information, which have no user name",
    "KMIP 1.1, 4.25 and 4.26",
)
VERSION_NOT_OFFERED = FindingKind(
    "version-not-offered",
    OFFERED,
    FindingLevel.ERROR,
    "Discover Versions does not offer KMIP 1.1",
    "vCenter speaks KMIP 1.1 and no other version, whatever a server offers",
    "support KMIP 1.1, and list it in the answer to Discover Versions",
    "KMIP 1.1, 4.26; STD-05",
)
NO_CLIENT_CERTIFICATE = FindingKind(
    "no-client-certificate",
    NOBODY,
    FindingLevel.ERROR,
    "A client without a certificate is given a key",
    "it works; so does everybody else who reaches the server, and reads every key",
    "ask for a client certificate in the TLS handshake, and end the handshake without one",
    "STD-03",
)
CLIENT_CERTIFICATE_OPTIONAL = FindingKind(
    "client-certificate-optional",
    NOBODY,
    FindingLevel.NOTICE,
    "A client without a certificate is answered, but not given a key",
    "it works: the server tells clients apart by something else than their certificates",
    "ask for a client certificate in the TLS handshake, and end the handshake without one",
    "STD-03",
)
UNKNOWN_CLIENT_SERVED = FindingKind(
    "unknown-client-served",
    UNKNOWN,
    FindingLevel.ERROR,
    "A client with an unknown certificate is given a key",
    "it works; so does everybody who makes a certificate with the name of the client",
    "trust only certificates that were given to the server, or those under its authorities",
    "STD-04",
)
EXPIRED_CLIENT_SERVED = FindingKind(
    "expired-client-served",
    EXPIRED,
    FindingLevel.NOTICE,
    "A client whose certificate has expired is given a key",
    "it works, and a certificate that should be of no use any more still opens every key",
    "refuse certificates before their beginning and after their end",
    "STD-07",
)
OLD_TLS = FindingKind(
    "old-tls",
    OLD,
    FindingLevel.NOTICE,
    "The server accepts TLS 1.0 or 1.1",
    "it works: vCenter uses TLS 1.2 or later",
    "accept TLS 1.2 and 1.3 only (RFC 8996)",
    "RFC 8996",
)
WEAK_CIPHER = FindingKind(
    "weak-cipher",
    CIPHER,
    FindingLevel.NOTICE,
    "The server uses a cipher without forward secrecy or authenticated encryption",
    "it works; such suites have known attacks, or let who has recorded the traffic read keys once "
    "the server's private key is known",
    "use suites with ECDHE and GCM or ChaCha20-Poly1305 only (RFC 9325)",
    "RFC 9325",
)
CERTIFICATE_NAME = FindingKind(
    "certificate-name",
    SERVER_CERTIFICATE,
    FindingLevel.NOTICE,
    "The server's certificate is for another name",
    f"vCenter trusts the certificate that a person accepted; {_NOT_KNOWN} with another name",
    "issue a certificate whose Subject Alternative Names have every name and address of the server",
    "RFC 9525",
)
CERTIFICATE_EXPIRING = FindingKind(
    "certificate-expiring",
    SERVER_CERTIFICATE,
    FindingLevel.NOTICE,
    "The server's certificate ends soon",
    "it works, and an event warns of it; from that day on the provider is not connected",
    "renew the certificate, and have vCenter trust the new one before the old one ends",
    "STD-07",
)
CLIENT_CERTIFICATE_EXPIRING = FindingKind(
    "client-certificate-expiring",
    CLIENT_CERTIFICATE,
    FindingLevel.NOTICE,
    "The client's certificate ends soon",
    "it works, and an event warns of it; from that day on the provider is not connected",
    "renew the certificate, and have the server trust the new one before the old one ends",
    "STD-07",
)

TRUST_FLOW_REFUSED = FindingKind(
    "trust-flow-refused",
    TRUST_FLOW,
    FindingLevel.ERROR,
    "The server does not accept the identity of a trust flow",
    "trust cannot be established in this way; an administrator has to choose another one",
    "do the server's part of the flow, and let that client make and get keys",
    "STD-04",
)

# ---- flow ----------------------------------------------------------------------------------------

VERSION_CHANGED = FindingKind(
    "version-changed",
    ANSWERS,
    FindingLevel.NOTICE,
    "A message of KMIP 1.1 is answered under another version",
    f"it may meet fields that KMIP 1.1 does not have; {_NOT_KNOWN}",
    "answer under the Protocol Version of the request",
    "KMIP 1.1, 6.1",
)
BATCH_ID_MISSING = FindingKind(
    "batch-id-missing",
    ANSWERS,
    FindingLevel.NOTICE,
    "An answer leaves out the Unique Batch Item ID of the request",
    f"it numbers every item of every message but the first of a session; {_NOT_KNOWN}",
    "repeat the Unique Batch Item ID of each item of a request",
    "KMIP 1.1, 6.4",
)
HEALTH_FAILED = FindingKind(
    "health-failed",
    HEALTH,
    FindingLevel.NOTICE,
    "The periodic look at the server fails",
    "the provider turns red and an alarm goes off; hosts go on with the keys that they have",
    "answer two Discover Versions on one connection, the second with a Unique Batch Item ID",
    "STD-09",
)
CREATE_FAILED = FindingKind(
    "create-failed",
    CREATED,
    FindingLevel.ERROR,
    "No key is made",
    "encrypting a VM fails",
    "let the client create AES-256 keys of which it says no name, group or date",
    "KMIP 1.1, 4.1",
)
ID_REPEATED = FindingKind(
    "id-repeated",
    CREATED,
    FindingLevel.ERROR,
    "Two Creates are answered with the same Unique Identifier",
    "two VMs have one key, or one of the two keys cannot be had any more",
    "give each object an identifier of its own, on all servers of the provider together",
    "KMIP 1.1, 3.1",
)
TAG_FAILED = FindingKind(
    "tag-failed",
    TAGGED,
    FindingLevel.NOTICE,
    "A key cannot be given the custom attributes that say what it is for",
    "forgiven: the key is used without its attributes, and nobody sees at the server whose it is",
    "support Add Attribute for names that begin with x-, three items to a message",
    "KMIP 1.1, 4.14; STD-05",
)
TAGS_LOST = FindingKind(
    "tags-lost",
    TAGGED,
    FindingLevel.NOTICE,
    "Custom attributes that were accepted are not there",
    "it does not look: the key is used, and nobody sees at the server whose it is",
    "store custom attributes, and return them when they are asked for by name",
    "KMIP 1.1, 3.37",
)
USE_FAILED = FindingKind(
    "use-failed",
    USED,
    FindingLevel.ERROR,
    "A new key cannot be fetched and activated",
    "'Cannot get key from KMS server': encrypting a VM fails",
    "let the client get a key that is Pre-Active, ask for its State and activate it",
    "KMIP 1.1, 4.11 and 4.19; STD-18",
)
KEY_NOT_ACTIVE = FindingKind(
    "key-not-active",
    USED,
    FindingLevel.ERROR,
    "A new key is not Active after it was activated",
    "KeyStateNotActiveOrEnabled: no VM is encrypted with such a key",
    "make new keys Pre-Active or Active, and Active after Activate",
    "KMIP 1.1, 3.22; STD-18",
)
KEY_CONSTANT = FindingKind(
    "key-constant",
    VALUES,
    FindingLevel.ERROR,
    "The value of a key is one byte, repeated",
    "it works, and everybody can guess the key",
    "draw keys from an approved random number generator",
    "KMIP 1.1, 4.1",
)
KEY_REPEATED = FindingKind(
    "key-repeated",
    VALUES,
    FindingLevel.ERROR,
    "Different keys have the same value",
    "it works, and who has one key has them all: a recrypt changes nothing",
    "draw the value of each key anew",
    "KMIP 1.1, 4.1",
)
KEY_LENGTH = FindingKind(
    "key-length",
    VALUES,
    FindingLevel.ERROR,
    "The Cryptographic Length of a key is not the length of its value",
    f"it asks for AES-256 keys; {_NOT_KNOWN} with one that claims another length",
    "let the Cryptographic Length of the Key Block be that of its Key Material, in bits",
    "KMIP 1.1, 2.1.3 and 3.5",
)
KEY_ALGORITHM = FindingKind(
    "key-algorithm",
    VALUES,
    FindingLevel.ERROR,
    "A key is of another algorithm than AES",
    f"it asks for AES-256 keys; {_NOT_KNOWN} with another algorithm",
    "let the Cryptographic Algorithm of the Key Block be that which Create named",
    "KMIP 1.1, 2.1.3 and 3.4",
)
KEY_CHANGED = FindingKind(
    "key-changed",
    VALUES,
    FindingLevel.ERROR,
    "A key has another value than before",
    f"what was encrypted with the first value cannot be read with the second: {_LOCKED}",
    "return the value of the key as it was made, whenever and wherever it is asked for",
    "KMIP 1.1, 4.11",
)
FETCH_FAILED = FindingKind(
    "fetch-failed",
    FETCHED,
    FindingLevel.ERROR,
    "A key cannot be fetched again",
    f"a host that has lost its cache does not get the key: {_LOCKED}",
    "let the client get each of its keys at any time, by its Unique Identifier",
    "KMIP 1.1, 4.11; STD-14",
)
STATUS_FAILED = FindingKind(
    "status-failed",
    STATUS,
    FindingLevel.NOTICE,
    "The State of a key cannot be asked for",
    "the status of the key is not shown, and its VMs raise an alarm",
    "answer Get Attributes of State",
    "KMIP 1.1, 4.12; STD-20",
)
MISSING_KEY_HIDDEN = FindingKind(
    "missing-key-hidden",
    MISSING,
    FindingLevel.NOTICE,
    "A key that is not there is refused for another reason than Item Not Found",
    "the key has the reason KeyStateClusterUnreachable instead of KeyStateMissingInKMS, so that "
    "people look for a fault of the network",
    "refuse Get of an unknown Unique Identifier with the Result Reason Item Not Found",
    "KMIP 1.1, 11.12; STD-20",
)
MISSING_KEY_SERVED = FindingKind(
    "missing-key-served",
    MISSING,
    FindingLevel.ERROR,
    "An identifier that no key has is answered with a key",
    f"a VM whose key is lost is given a wrong one: {_LOCKED}",
    "refuse Get of an unknown Unique Identifier with the Result Reason Item Not Found",
    "KMIP 1.1, 11.12",
)

WRAPPING_KEY_FAILED = FindingKind(
    "wrapping-key-failed",
    WRAPPED,
    FindingLevel.ERROR,
    "A wrapping key cannot be made, fetched and activated",
    "a provider whose keys are wrapped makes no key: encrypting a VM fails",
    "let the client make one more key, get it while it is Pre-Active, and activate it",
    "KMIP 1.1, 4.1, 4.11 and 4.19; KEY-07",
)
WRAPPING_KEY_NOT_ACTIVE = FindingKind(
    "wrapping-key-not-active",
    WRAPPED,
    FindingLevel.ERROR,
    "A wrapping key is not Active, or not any more after another one took its place",
    "WrappingKeyNotActiveOrEnabled: no key under it is given to a host, and VMs stay locked",
    "leave each wrapping key Active: VMs stay under an earlier one until they are recrypted",
    "KMIP 1.1, 3.22; KEY-08 and KEY-09",
)
WRAPPING_KEY_LOST = FindingKind(
    "wrapping-key-lost",
    WRAPPED,
    FindingLevel.ERROR,
    "A wrapping key cannot be fetched again",
    f"WrappingKeyMissingInKMS: each host that reboots loses every VM under it; {_LOCKED}",
    "let the client get a wrapping key as often as it asks: once for each task and each boot",
    "KMIP 1.1, 4.11; KEY-09",
)
WRAPPING_KEY_CHANGED = FindingKind(
    "wrapping-key-changed",
    WRAPPED,
    FindingLevel.ERROR,
    "Keys that were wrapped by a key of the server do not open under it any more",
    "WrappingKeyMissingInKMS: the value is another one, and every VM under it is lost for good",
    "return the same value for a key as long as it exists",
    "KMIP 1.1, 4.11; KEY-09",
)
VSAN_FETCH_FAILED = FindingKind(
    "vsan-fetch-failed",
    VSAN,
    FindingLevel.ERROR,
    "A host of an encrypted vSAN does not get a key that vCenter made",
    "vCenter gives hosts no more than identifiers: after a reboot the host mounts no disk group",
    "let hosts get the keys that vCenter makes: the same owner, whichever certificate they show",
    "VSAN-03 and STD-06",
)
VSAN_KEY_NOT_ACTIVE = FindingKind(
    "vsan-key-not-active",
    VSAN,
    FindingLevel.ERROR,
    "A host of an encrypted vSAN is told that its key is not Active",
    "hosts activate no key: the host does not use it, and mounts no disk group",
    "return the State Active for a key that vCenter has activated before it was fetched",
    "VSAN-03 and STD-18",
)
PRIMARY_KEY_FAILED = FindingKind(
    "primary-key-failed",
    PRIMARY,
    FindingLevel.ERROR,
    "A Key Provider Service does not get the primary key of its trusted provider",
    "no key of the trusted provider is made or unwrapped: VMs do not start after a reboot of their "
    "hosts",
    "let the service get the primary key by its identifier at every server of the provider",
    "TA-05 and KPS-04",
)

# ---- failover ------------------------------------------------------------------------------------

KEY_NOT_REPLICATED = FindingKind(
    "key-not-replicated",
    REPLICATED,
    FindingLevel.ERROR,
    "A key that one server made cannot be had at another one",
    "vCenter asks the servers in turn: KeyStateMissingInKMS at every other request, and "
    f"{_LOCKED} while the first server is down",
    "have the servers of a provider replicate their keys, before a Create is answered if possible",
    "STD-01 and STD-08",
)

KEY_LATE = FindingKind(
    "key-late",
    REPLICATED,
    FindingLevel.NOTICE,
    "A key that one server made is not at another one at once",
    "vCenter asks the servers in turn: a task that meets the other server meanwhile fails with "
    "KeyStateMissingInKMS",
    "answer a Create when the other servers have the key too",
    "STD-01 and STD-08",
)
TAKEOVER_FAILED = FindingKind(
    "takeover-failed",
    TAKEN_OVER,
    FindingLevel.ERROR,
    "With one server down, no other one makes keys and gives them out",
    "the provider is down although one of its servers is up: no VM is encrypted or unlocked",
    "let each server make keys and give them out by itself",
    "STD-08",
)
CATCH_UP_FAILED = FindingKind(
    "catch-up-failed",
    CAUGHT_UP,
    FindingLevel.ERROR,
    "A server that was down does not get the keys that were made meanwhile",
    "vCenter asks the servers in turn: KeyStateMissingInKMS at every other request",
    "have a server that comes back catch up before it answers",
    "STD-01 and STD-08",
)

# ---- isolation -----------------------------------------------------------------------------------

FOREIGN_KEY_SERVED = FindingKind(
    "foreign-key-served",
    SEPARATE,
    FindingLevel.ERROR,
    "A client is given a key that another client made",
    "it works, and every client of the server reads the keys of this vCenter",
    "give each client, or each group of clients, objects of its own",
    "KMIP 1.1, 3.11; STD-06",
)
FOREIGN_KEY_DESCRIBED = FindingKind(
    "foreign-key-described",
    SEPARATE,
    FindingLevel.NOTICE,
    "A client is told attributes of a key that another client made",
    "it works, and every client of the server sees names and states of this vCenter's keys",
    "answer for the keys of others as for keys that are not there: Item Not Found",
    "KMIP 1.1, 3.11; STD-06",
)
FOREIGN_KEY_LOCATED = FindingKind(
    "foreign-key-located",
    SEPARATE,
    FindingLevel.NOTICE,
    "A client finds a key that another client made",
    "it works, and every client of the server learns which keys this vCenter has",
    "let Locate find the keys of the client that asks, and no others",
    "KMIP 1.1, 4.9; STD-06",
)

# ---- storm ---------------------------------------------------------------------------------------

STORM_FAILED = FindingKind(
    "storm-failed",
    STORM,
    FindingLevel.ERROR,
    "Keys cannot be fetched when many hosts ask at once",
    "after a power failure all hosts start together; the VMs of those that get no key stay locked",
    "raise the limits of connections and of requests, or add servers",
    "STD-14 and STD-16",
)

KINDS: Final[tuple[FindingKind, ...]] = tuple(
    found for found in list(globals().values()) if isinstance(found, FindingKind)
)
"""All of them, in the order in which a replay may find them."""

_BROKEN: Final = ("Refused", "TimedOut", "Disconnected", "TlsFailure")
_OF_CLIENT: Final = ("certificate", "unknown ca", "access denied")
"""Words of the alerts by which a server says that it is the client's certificate."""


def is_broken(error: str) -> bool:
    """Whether it was the connection that failed: ``error`` begins with the kind of it."""
    return error.partition(":")[0] in _BROKEN


def kind_of_failure(error: str) -> FindingKind:
    """The kind of finding that a failed connection is: who does not trust whom, if it is that."""
    kind, _, why = error.partition(": ")
    if kind == "TlsFailure" and why.startswith("the certificate of the other end"):
        return SERVER_NOT_TRUSTED
    _, alert, said = why.partition("alert ")
    if kind == "TlsFailure" and alert and any(word in said for word in _OF_CLIENT):
        return CLIENT_NOT_TRUSTED
    return SERVER_UNREACHABLE


def consequence(kind: FindingKind, error: str) -> str:
    """What a vCenter makes of a step that failed: of a broken connection it knows no more than
    that; a refused tag is forgiven all the same."""
    return (
        kind_of_failure(error).vcenter
        if is_broken(error) and kind is not TAG_FAILED
        else kind.vcenter
    )
