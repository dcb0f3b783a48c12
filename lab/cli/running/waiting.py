"""``wait``: wait for a state of a lab.

``sleep``: let its time pass. ``completion``: scripts by which shells complete; each calls
`keystead __complete` at the press of Tab.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, duration
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import plain
from lab.state.state_folder import LabFolder

_BASH: Final = r"""# keystead completion for bash
_keystead() {
    local word words="" begun="" line
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do words+="$word"$'\x1f'; done
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            $'\x1f'begin*) begun=1 ;;
            $'\x1f'files*) compopt -o filenames
                COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")) ;;
            $'\x1f'*) ;;
            *) [[ $begun ]] && COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <(CYCLOPTS_COMPLETION_WORDS=$words "${COMP_WORDS[0]}" __complete 2>/dev/null)
}
complete -F _keystead keystead
"""
_ZSH: Final = r"""#compdef keystead
# keystead completion for zsh
_keystead() {
    local words_= begun= line word
    local -a found
    for word in "${(@)words[2,CURRENT]}"; do words_+="$word"$'\x1f'; done
    CYCLOPTS_COMPLETION_WORDS=$words_ "${words[1]}" __complete 2>/dev/null |
    while IFS= read -r line; do
        case $line in
            $'\x1f'begin*) begun=1 ;;
            $'\x1f'files*) _files ;;
            $'\x1f'*) ;;
            *) [[ -n $begun ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    _describe keystead found
}
compdef _keystead keystead
"""
_FISH: Final = r"""# keystead completion for fish
function __keystead_complete
    set -l words (commandline -opc)[2..] (commandline -ct)
    set -lx CYCLOPTS_COMPLETION_WORDS (string join '' -- $words\x1f)
    for line in (command keystead __complete 2>/dev/null)
        switch $line
            case \x1f'files*'
                __fish_complete_path (commandline -ct)
            case \x1f'*'
            case '*'
                echo $line
        end
    end
end
complete -c keystead -f -a '(__keystead_complete)'
"""
SCRIPTS: Final[Mapping[str, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


LOOK_EVERY_S = 0.2  # real seconds
VIRTUAL_LOOK_EVERY_S = 1.0  # lab seconds of a simulated lab


def wait(
    *,
    for_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--for",
            negative="",
            required=True,
            help="NOUN.STATE=all, none, a number or names.",
            completer=COMPLETERS["condition"],
        ),
    ],
    timeout: Annotated[
        str, Parameter(help="Time limit in real time; in lab time for a simulated lab.")
    ] = "60s",
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Wait until VMs, hosts or faults have a state; exit code 6 after the time limit.

    keystead wait --for vm.running=all
    keystead wait --for vm.locked=vm-01,vm-04 --for host.connected=all --timeout 5m
    """
    from lab.cli.progress import showing_progress
    from lab.local.remote import Remote
    from lab.serve.waiting import condition, wait_for

    conditions = [condition(text) for text in for_]
    limit_s = duration("--timeout", timeout)

    async def wait_there() -> None:
        async with Remote(LabFolder(options.name), options.vcenter) as lab:
            begun, slept = time.monotonic(), 0.0

            async def pause() -> None:
                nonlocal slept
                if not lab.virtual:
                    await asyncio.sleep(LOOK_EVERY_S)
                    return
                await lab.sleep(VIRTUAL_LOOK_EVERY_S)
                slept += VIRTUAL_LOOK_EVERY_S

            def over() -> bool:
                return (slept if lab.virtual else time.monotonic() - begun) > limit_s

            waiting = wait_for(lab.do, pause, conditions, over)
            if options.quiet:
                await waiting
            else:
                await showing_progress(waiting, lambda: f"waiting for {', '.join(for_)}")

    asyncio.run(wait_there())


def sleep(
    time: Annotated[str, Parameter(help="Time of the lab: 30s, 10m, 6h.")],
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Let this much time of a lab pass.

    keystead sleep 6h --name story
    keystead sleep 90s

    A simulated lab (`keystead serve --sim`) plays it as fast as it can. A lab of real processes
    takes its time, divided by its pace.
    """
    from lab.local.remote import Remote

    seconds = duration("TIME", time)

    async def pass_there() -> None:
        async with Remote(LabFolder(options.name)) as lab:
            await lab.sleep(seconds)

    asyncio.run(pass_there())


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a shell completion script for commands, options, and names of nodes, VMs, runs, files.

    keystead completion bash
    keystead completion fish

    Save the script as ~/.local/share/bash-completion/completions/keystead,
    ~/.config/fish/completions/keystead.fish, or as _keystead in a folder of zsh's fpath.
    """

    plain(SCRIPTS[shell])
