"""The nodes that run now."""

from collections import Counter
from collections.abc import AsyncIterator

from gateway import __version__
from gateway.cli.doctor.findings import AS_OWNER, Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.cli.processes import NoAnswer, ask_all
from gateway.core.local_socket import LocalUnavailable
from gateway.core.socket_folder import sockets_in
from gateway.core.start_error import StartError


async def nodes(subject: Subject) -> AsyncIterator[Finding]:
    """Check that all nodes run this version. One that runs on this machine knows the others."""
    folder = subject.settings.data_dir
    if not folder.is_dir() or not sockets_in(folder):
        yield ok("no gateway runs from this data folder now")
        return
    try:
        answers = await ask_all(folder, "status", {})
    except (LocalUnavailable, NoAnswer) as error:
        reasons = "; ".join(str(error).splitlines())
        yield problem(f"the gateway that runs here does not answer: {reasons}", "gateway status  # and its log")
        return
    except StartError as error:
        yield problem(str(error), AS_OWNER)
        return
    for each in answers.problems:
        yield warning(each, "gateway status")
    found = Counter(str(node.get("version")) for node in answers.nodes.values())
    others = sorted(version for version in found if version != __version__)
    count = sum(found.values())
    if others:
        shown = ", ".join(f"{number} of {version}" for version, number in sorted(found.items()))
        yield warning(f"the nodes run several versions ({shown}), and this is {__version__}", "restart the older ones")
    else:
        yield ok(f"{count} node{'' if count == 1 else 's'} of version {__version__} run{'s' if count == 1 else ''}")
