"""Scripts by which shells complete: each asks `keystead __complete` at the press of Tab, so that
they are short and know the lab, its runs and its files as they are then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
