# Completion of pyratectl(1) for fish. pyratectl itself knows what fits at a place of the line, and fish adds quotes where they
# are needed; nothing of the answer is evaluated here.
function __pyratectl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # Without its quotes; where it has no end of them yet, one is added for that.
    set -l plain (string unescape -- $current; or string unescape -- $current\'; or string unescape -- $current\")
    set -l answer (command pyratectl --complete fish $words[2..-1] "$plain" 2>/dev/null)
    switch "$answer[1]"
        case 'files*'
            set -l option (string match -r -- '^--[^=]*=' "$plain")
            __fish_complete_path (string sub -s (math 1 + (string length -- "$option")) -- "$plain") | string replace -r -- '^' "$option"
        case '*'
            set -q answer[2]; and printf '%s\n' $answer[2..-1]
    end
end
complete -c pyratectl -f -k -a '(__pyratectl_complete)'
