# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# One line for each step of the set-up, and a clean end whenever it is interrupted.

ticker=
stop_ticker() {
    [ -n "$ticker" ] || return 0
    kill "$ticker" 2>/dev/null || :
    wait "$ticker" 2>/dev/null || :
    ticker=
}

# step ID TEXT COMMAND...: one line with the time it took, which counts meanwhile on a terminal;
# elsewhere one when it begins and one when it ends. The command's output is shown only if it fails.
# The command runs in the foreground, so Ctrl-C reaches it.
step() {
    step_id=$1 step_text=$2
    shift 2
    began=$(date +%s)
    if [ ! -t 2 ]; then
        say "$step_text ..."
    else
        (
            while kill -0 $$ 2>/dev/null; do
                printf '\rkeystead: %s ... %s s ' "$step_text" "$(($(date +%s) - began))" >&2
                sleep 1
            done
        ) 9>&- &
        ticker=$!
    fi
    status=0 outcome='done'
    "$@" >"$scratch/log" 2>&1 </dev/null || status=$? outcome=failed
    stop_ticker
    [ ! -t 2 ] || printf '\r' >&2
    say "$step_text: $outcome, $(($(date +%s) - began)) s"
    [ "$status" != 0 ] || return 0
    tail -n 25 "$scratch/log" | sed 's/^/  | /' >&2
    fail "$step_id" "this step failed: $*" 'read the lines above, then start again'
}

interrupted() {
    exec 2>&8 # a step's functions run with stderr in the log
    stop_ticker
    printf '\n' >&2
    say 'stopped before the environment was complete; the next start makes it again'
    exit 130
}

leave() {
    stop_ticker
    [ -z "${scratch:-}" ] || rm -rf "$scratch"
}
