# Completion of pyratectl(1) for bash 4.4 or newer. pyratectl itself knows what fits at a place of the line, with quotes where
# they are needed; nothing of its answer is evaluated here.
_pyratectl() {
    local answer
    mapfile -t answer < <(command pyratectl --complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case ${answer[0]-} in
        files*) compopt -o default ;;
        unfinished) compopt -o nospace ;;
    esac
    COMPREPLY=("${answer[@]:1}")
}
complete -o nosort -F _pyratectl pyratectl
