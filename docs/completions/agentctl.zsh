#compdef agentctl

autoload -U is-at-least

_agentctl() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_agentctl_commands" \
"*::: :->agentctl" \
&& ret=0
    case $state in
    (agentctl)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-command-$line[1]:"
        case $line[1] in
            (nodes)
_arguments "${_arguments_options[@]}" : \
'-l+[Only those that have these labels]:KEY=VALUE,...:_default' \
'--selector=[Only those that have these labels]:KEY=VALUE,...:_default' \
'*--state=[Only those in this state; may be repeated]:STATE:((attached\:"The agent can be called"
away\:"The agent cannot be called"
closed\:"The machine was handed over or locked down"
elsewhere\:"Another gateway holds the agent, and passes calls on"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(get)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(inventory)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--last[The last inspection report that the gateway has taken, also of a node that is away]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(steps)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--phase=[Of which step machine]:PHASE:((clean\:"Before a node becomes available"
deploy\:"Deployment of an instance"
service\:"Servicing of a node that holds an instance"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(plan)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_agentctl__subcmd__plan_commands" \
"*::: :->plan" \
&& ret=0

    case $state in
    (plan)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-plan-command-$line[1]:"
        case $line[1] in
            (erase)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--method=[How thoroughly]:METHOD:((data\:"All data, by the drive itself where it can"
metadata\:"Partition tables and signatures only\: seconds, and the data can be found again"
express\:"All data of NVMe drives, by formatting, and the metadata of other disks"))' \
'*--disk=[Only this disk, a path or KEY=VALUE,... that describes it; may be repeated]:DISK:_default' \
'--concurrency=[How many disks of a node at the same time]:N:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--sanitize[Let NVMe and SCSI drives sanitize themselves where they can]' \
'--skip-read-only[Leave read-only disks alone, which otherwise fail the command]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(write)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'*--image=[Where the image is; repeated\: tried in this order]:URL:_default' \
'--sha256=[SHA-256 of the image, or the URL of a list as sha256sum writes it]:DIGEST|URL:_default' \
'--sha384=[SHA-384 of the image, or the URL of a list]:DIGEST|URL:_default' \
'--sha512=[SHA-512 of the image, or the URL of a list]:DIGEST|URL:_default' \
'--format=[What the image is; without it qcow2 and disks with a partition table are found out]:FORMAT:((raw\:"The bytes of a disk, also compressed"
qcow2\:"QEMU'\''s copy-on-write format"))' \
'--disk=[The disk, a path or KEY=VALUE,... that describes it; the node'\''s root device when not given]:DISK:_default' \
'--config-drive=[A config drive\: a URL, or a file with an ISO 9660 or VFAT image, as it is or packed by gzip]:URL|FILE:_default' \
'--boot-mode=[How the deployed system boots; as the node or the ramdisk does when not given]:MODE:((uefi\:"UEFI"
bios\:"BIOS"))' \
'--image-user=[The user at the image server]:NAME:_default' \
'--image-password-file=[Its first line is the password of --image-user]:FILE:_files' \
'(--image-user)--image-authorization-file=[Its first line is sent to the image server as Authorization header]:FILE:_files' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(raid)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--layout=[The arrays to make\: a JSON or YAML file with the \`volumes\` of a RaidCommand]:FILE:_files' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--delete[Remove all arrays]' \
'--keep-existing[Keep the arrays that there are, beside the new ones]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--step=[A step by interface and name, for example deploy.erase_devices_metadata]:INTERFACE.STEP:_default' \
'--phase=[The step machine of the step]:PHASE:((clean\:"Before a node becomes available"
deploy\:"Deployment of an instance"
service\:"Servicing of a node that holds an instance"))' \
'*--argument=[An argument of the step; a value that is not JSON is a text. May be repeated]:KEY=VALUE:_default' \
'--node-document=[A file, JSON or YAML, with the node as the step sees it; its UUID is added]:FILE:_files' \
'--command=[A message ironic.agent.v1.Command as JSON, for example '\''{"sync"\: {}}'\'']:JSON:_default' \
'--file=[A file with such a message, JSON or YAML]:FILE:_files' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(power)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':change -- What to do:((off\:"Power the machine off"
reboot\:"Boot into the deployed system"
kexec\:"Start the kernel of the deployed system without the firmware'\''s second pass"))' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__plan__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-plan-help-command-$line[1]:"
        case $line[1] in
            (erase)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(write)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(raid)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(power)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(erase)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--method=[How thoroughly]:METHOD:((data\:"All data, by the drive itself where it can"
metadata\:"Partition tables and signatures only\: seconds, and the data can be found again"
express\:"All data of NVMe drives, by formatting, and the metadata of other disks"))' \
'*--disk=[Only this disk, a path or KEY=VALUE,... that describes it; may be repeated]:DISK:_default' \
'--concurrency=[How many disks of a node at the same time]:N:_default' \
'--deadline=[Cancel the command after this time]:SECONDS:_default' \
'--on-interrupt=[What Ctrl-C does to commands that run]:WHAT:((ask\:"Ask; without a terminal as detach"
cancel\:"Cancel them"
detach\:"Leave them running"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--sanitize[Let NVMe and SCSI drives sanitize themselves where they can]' \
'--skip-read-only[Leave read-only disks alone, which otherwise fail the command]' \
'-y[Do not ask before data is lost]' \
'--yes[Do not ask before data is lost]' \
'--detach[Give the command and end, without following it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(write)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'*--image=[Where the image is; repeated\: tried in this order]:URL:_default' \
'--sha256=[SHA-256 of the image, or the URL of a list as sha256sum writes it]:DIGEST|URL:_default' \
'--sha384=[SHA-384 of the image, or the URL of a list]:DIGEST|URL:_default' \
'--sha512=[SHA-512 of the image, or the URL of a list]:DIGEST|URL:_default' \
'--format=[What the image is; without it qcow2 and disks with a partition table are found out]:FORMAT:((raw\:"The bytes of a disk, also compressed"
qcow2\:"QEMU'\''s copy-on-write format"))' \
'--disk=[The disk, a path or KEY=VALUE,... that describes it; the node'\''s root device when not given]:DISK:_default' \
'--config-drive=[A config drive\: a URL, or a file with an ISO 9660 or VFAT image, as it is or packed by gzip]:URL|FILE:_default' \
'--boot-mode=[How the deployed system boots; as the node or the ramdisk does when not given]:MODE:((uefi\:"UEFI"
bios\:"BIOS"))' \
'--image-user=[The user at the image server]:NAME:_default' \
'--image-password-file=[Its first line is the password of --image-user]:FILE:_files' \
'(--image-user)--image-authorization-file=[Its first line is sent to the image server as Authorization header]:FILE:_files' \
'--deadline=[Cancel the command after this time]:SECONDS:_default' \
'--on-interrupt=[What Ctrl-C does to commands that run]:WHAT:((ask\:"Ask; without a terminal as detach"
cancel\:"Cancel them"
detach\:"Leave them running"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-y[Do not ask before data is lost]' \
'--yes[Do not ask before data is lost]' \
'--detach[Give the command and end, without following it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(raid)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--layout=[The arrays to make\: a JSON or YAML file with the \`volumes\` of a RaidCommand]:FILE:_files' \
'--deadline=[Cancel the command after this time]:SECONDS:_default' \
'--on-interrupt=[What Ctrl-C does to commands that run]:WHAT:((ask\:"Ask; without a terminal as detach"
cancel\:"Cancel them"
detach\:"Leave them running"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--delete[Remove all arrays]' \
'--keep-existing[Keep the arrays that there are, beside the new ones]' \
'-y[Do not ask before data is lost]' \
'--yes[Do not ask before data is lost]' \
'--detach[Give the command and end, without following it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--step=[A step by interface and name, for example deploy.erase_devices_metadata]:INTERFACE.STEP:_default' \
'--phase=[The step machine of the step]:PHASE:((clean\:"Before a node becomes available"
deploy\:"Deployment of an instance"
service\:"Servicing of a node that holds an instance"))' \
'*--argument=[An argument of the step; a value that is not JSON is a text. May be repeated]:KEY=VALUE:_default' \
'--node-document=[A file, JSON or YAML, with the node as the step sees it; its UUID is added]:FILE:_files' \
'--command=[A message ironic.agent.v1.Command as JSON, for example '\''{"sync"\: {}}'\'']:JSON:_default' \
'--file=[A file with such a message, JSON or YAML]:FILE:_files' \
'--deadline=[Cancel the command after this time]:SECONDS:_default' \
'--on-interrupt=[What Ctrl-C does to commands that run]:WHAT:((ask\:"Ask; without a terminal as detach"
cancel\:"Cancel them"
detach\:"Leave them running"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-y[Do not ask before data is lost]' \
'--yes[Do not ask before data is lost]' \
'--detach[Give the command and end, without following it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'--until-idle[End when no command runs any more; the exit code says how the commands ended]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(events)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--resume=[Go on after the event that had this resume_token in -o json]:TOKEN:_default' \
'--count=[End after this many events]:N:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(logs)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'(--archive --cursor)--tail=[Begin with the last so many records; with the oldest that is kept when not given]:N:_default' \
'(--archive)*--source=[Only this log; may be repeated]:LOG:((agent\:"The agent'\''s own"
kernel\:"The kernel'\''s"))' \
'(--archive)--cursor=[Go on after the record that had this cursor in -o json]:CURSOR:_default' \
'--archive=[Write the archive of all logs, a gzip of a tar, to DIR/NODE.tar.gz]:DIR:_files' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'(--archive)-f[Go on with new records]' \
'(--archive)--follow[Go on with new records]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(cancel)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--id=[The command; the one that runs when not given]:UUID:_default' \
'--reason=[Why, for the record of the command]:REASON:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(power)
_arguments "${_arguments_options[@]}" : \
'()-l+[All nodes that have these labels]:KEY=VALUE,...:_default' \
'()--selector=[All nodes that have these labels]:KEY=VALUE,...:_default' \
'--deadline=[Cancel the command after this time]:SECONDS:_default' \
'--on-interrupt=[What Ctrl-C does to commands that run]:WHAT:((ask\:"Ask; without a terminal as detach"
cancel\:"Cancel them"
detach\:"Leave them running"))' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'(-l --selector)--all[All nodes]' \
'-y[Do not ask before data is lost]' \
'--yes[Do not ask before data is lost]' \
'--detach[Give the command and end, without following it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':change -- What to do:((off\:"Power the machine off"
reboot\:"Boot into the deployed system"
kexec\:"Start the kernel of the deployed system without the firmware'\''s second pass"))' \
'*::nodes -- Names or UUIDs:_default' \
&& ret=0
;;
(token)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_agentctl__subcmd__token_commands" \
"*::: :->token" \
&& ret=0

    case $state in
    (token)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-token-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--node=[The only node that it is for]:UUID:_default' \
'-l+[Labels that the node must have]:KEY=VALUE,...:_default' \
'--selector=[Labels that the node must have]:KEY=VALUE,...:_default' \
'--uses=[How often it may be used]:N:_default' \
'--lifetime=[How long it may be used; an hour when not given]:SECONDS:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- What the token begins with:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__token__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-token-help-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(login)
_arguments "${_arguments_options[@]}" : \
'--gateway=[The gateway'\''s fleet_listen\: https\://HOST\:PORT, http\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--offline[Write the context without calling the gateway]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The name of the context, which becomes the current one:_default' \
&& ret=0
;;
(contexts)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_agentctl__subcmd__contexts_commands" \
"*::: :->contexts" \
&& ret=0

    case $state in
    (contexts)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-contexts-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(use)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Its name:_default' \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Its name:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__contexts__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-contexts-help-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(use)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(completion)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; ~/.config/agentctl/config.yaml when not given]:FILE:_files' \
'--context=[The context of the configuration file; its current one when not given]:NAME:_default' \
'--agent=[Call this one agent, without a gateway\: http\://HOST\:PORT, https\://HOST\:PORT or unix\:/PATH]:ADDRESS:_default' \
'--agent-token-file=[The file that holds the agent token, with --agent]:FILE:_files' \
'--ca-file=[PEM certificates that the server'\''s must chain to; those of the context when not given]:FILE:_files' \
'--certificate-file=[PEM certificate of the caller; that of the context when not given]:FILE:_files' \
'--key-file=[PEM key of the certificate]:FILE:_files' \
'--timeout=[How long an answer may take; an order is asked about again, and commands may run for longer]:SECONDS:_default' \
'--parallel=[How many nodes are worked on at once]:N:_default' \
'-o+[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'--output=[How results are printed]:FORMAT:((table\:"For a person"
json\:"One JSON document; one for each line where results come one by one"
yaml\:"The same as YAML"
name\:"Names or identifiers, one each line"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-help-command-$line[1]:"
        case $line[1] in
            (nodes)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(get)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(inventory)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(steps)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(plan)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__help__subcmd__plan_commands" \
"*::: :->plan" \
&& ret=0

    case $state in
    (plan)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-help-plan-command-$line[1]:"
        case $line[1] in
            (erase)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(write)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(raid)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(power)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(erase)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(write)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(raid)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(events)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(logs)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(cancel)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(power)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(token)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__help__subcmd__token_commands" \
"*::: :->token" \
&& ret=0

    case $state in
    (token)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-help-token-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(login)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(contexts)
_arguments "${_arguments_options[@]}" : \
":: :_agentctl__subcmd__help__subcmd__contexts_commands" \
"*::: :->contexts" \
&& ret=0

    case $state in
    (contexts)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:agentctl-help-contexts-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(use)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(completion)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_agentctl_commands] )) ||
_agentctl_commands() {
    local commands; commands=(
'nodes:Lists the nodes' \
'get:Shows nodes in full, with their commands' \
'inventory:Shows the hardware of nodes, read now by their agents' \
'steps:Lists the steps that nodes offer' \
'plan:Shows what a command would do and which data would be lost; changes nothing' \
'erase:Erases the disks of nodes' \
'write:Writes an image to the root disk of nodes' \
'raid:Makes or removes software RAID' \
'run:Runs a step, or any command of the protocol' \
'watch:Follows nodes live\: a line with a bar for each' \
'events:Prints what changes about nodes, one line each' \
'logs:Prints the logs of nodes, or fetches them as archives' \
'cancel:Cancels the command that runs' \
'power:Powers nodes off, or boots them into the deployed system' \
'token:Makes, lists and revokes join tokens, which prove to a gateway which node a machine is' \
'login:Writes a context\: a gateway, its CA, and the caller'\''s certificate and key' \
'contexts:Lists, chooses and removes contexts' \
'completion:Prints the completion script of a shell' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__cancel_commands] )) ||
_agentctl__subcmd__cancel_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl cancel commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__completion_commands] )) ||
_agentctl__subcmd__completion_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl completion commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts_commands] )) ||
_agentctl__subcmd__contexts_commands() {
    local commands; commands=(
'list:Lists the contexts; the current one has a star' \
'use:Makes a context the current one' \
'remove:Removes a context from the file' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl contexts commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__help_commands] )) ||
_agentctl__subcmd__contexts__subcmd__help_commands() {
    local commands; commands=(
'list:Lists the contexts; the current one has a star' \
'use:Makes a context the current one' \
'remove:Removes a context from the file' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl contexts help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__help__subcmd__help_commands] )) ||
_agentctl__subcmd__contexts__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts help help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__help__subcmd__list_commands] )) ||
_agentctl__subcmd__contexts__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts help list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__help__subcmd__remove_commands] )) ||
_agentctl__subcmd__contexts__subcmd__help__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts help remove commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__help__subcmd__use_commands] )) ||
_agentctl__subcmd__contexts__subcmd__help__subcmd__use_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts help use commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__list_commands] )) ||
_agentctl__subcmd__contexts__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__remove_commands] )) ||
_agentctl__subcmd__contexts__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts remove commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__contexts__subcmd__use_commands] )) ||
_agentctl__subcmd__contexts__subcmd__use_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl contexts use commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__erase_commands] )) ||
_agentctl__subcmd__erase_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl erase commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__events_commands] )) ||
_agentctl__subcmd__events_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl events commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__get_commands] )) ||
_agentctl__subcmd__get_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl get commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help_commands] )) ||
_agentctl__subcmd__help_commands() {
    local commands; commands=(
'nodes:Lists the nodes' \
'get:Shows nodes in full, with their commands' \
'inventory:Shows the hardware of nodes, read now by their agents' \
'steps:Lists the steps that nodes offer' \
'plan:Shows what a command would do and which data would be lost; changes nothing' \
'erase:Erases the disks of nodes' \
'write:Writes an image to the root disk of nodes' \
'raid:Makes or removes software RAID' \
'run:Runs a step, or any command of the protocol' \
'watch:Follows nodes live\: a line with a bar for each' \
'events:Prints what changes about nodes, one line each' \
'logs:Prints the logs of nodes, or fetches them as archives' \
'cancel:Cancels the command that runs' \
'power:Powers nodes off, or boots them into the deployed system' \
'token:Makes, lists and revokes join tokens, which prove to a gateway which node a machine is' \
'login:Writes a context\: a gateway, its CA, and the caller'\''s certificate and key' \
'contexts:Lists, chooses and removes contexts' \
'completion:Prints the completion script of a shell' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__cancel_commands] )) ||
_agentctl__subcmd__help__subcmd__cancel_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help cancel commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__completion_commands] )) ||
_agentctl__subcmd__help__subcmd__completion_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help completion commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__contexts_commands] )) ||
_agentctl__subcmd__help__subcmd__contexts_commands() {
    local commands; commands=(
'list:Lists the contexts; the current one has a star' \
'use:Makes a context the current one' \
'remove:Removes a context from the file' \
    )
    _describe -t commands 'agentctl help contexts commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__contexts__subcmd__list_commands] )) ||
_agentctl__subcmd__help__subcmd__contexts__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help contexts list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__contexts__subcmd__remove_commands] )) ||
_agentctl__subcmd__help__subcmd__contexts__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help contexts remove commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__contexts__subcmd__use_commands] )) ||
_agentctl__subcmd__help__subcmd__contexts__subcmd__use_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help contexts use commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__erase_commands] )) ||
_agentctl__subcmd__help__subcmd__erase_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help erase commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__events_commands] )) ||
_agentctl__subcmd__help__subcmd__events_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help events commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__get_commands] )) ||
_agentctl__subcmd__help__subcmd__get_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help get commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__help_commands] )) ||
_agentctl__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__inventory_commands] )) ||
_agentctl__subcmd__help__subcmd__inventory_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help inventory commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__login_commands] )) ||
_agentctl__subcmd__help__subcmd__login_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help login commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__logs_commands] )) ||
_agentctl__subcmd__help__subcmd__logs_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help logs commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__nodes_commands] )) ||
_agentctl__subcmd__help__subcmd__nodes_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help nodes commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan_commands] )) ||
_agentctl__subcmd__help__subcmd__plan_commands() {
    local commands; commands=(
'erase:Erases the disks of nodes' \
'write:Writes an image to the root disk of nodes' \
'raid:Makes or removes software RAID' \
'run:Runs a step, or any command of the protocol' \
'power:Powers nodes off, or boots them into the deployed system' \
    )
    _describe -t commands 'agentctl help plan commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan__subcmd__erase_commands] )) ||
_agentctl__subcmd__help__subcmd__plan__subcmd__erase_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help plan erase commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan__subcmd__power_commands] )) ||
_agentctl__subcmd__help__subcmd__plan__subcmd__power_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help plan power commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan__subcmd__raid_commands] )) ||
_agentctl__subcmd__help__subcmd__plan__subcmd__raid_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help plan raid commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan__subcmd__run_commands] )) ||
_agentctl__subcmd__help__subcmd__plan__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help plan run commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__plan__subcmd__write_commands] )) ||
_agentctl__subcmd__help__subcmd__plan__subcmd__write_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help plan write commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__power_commands] )) ||
_agentctl__subcmd__help__subcmd__power_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help power commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__raid_commands] )) ||
_agentctl__subcmd__help__subcmd__raid_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help raid commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__run_commands] )) ||
_agentctl__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help run commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__steps_commands] )) ||
_agentctl__subcmd__help__subcmd__steps_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help steps commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__token_commands] )) ||
_agentctl__subcmd__help__subcmd__token_commands() {
    local commands; commands=(
'create:Makes a token and prints it, once' \
'list:Lists the tokens, without their secrets' \
'revoke:Ends a token' \
    )
    _describe -t commands 'agentctl help token commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__token__subcmd__create_commands] )) ||
_agentctl__subcmd__help__subcmd__token__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help token create commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__token__subcmd__list_commands] )) ||
_agentctl__subcmd__help__subcmd__token__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help token list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__token__subcmd__revoke_commands] )) ||
_agentctl__subcmd__help__subcmd__token__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help token revoke commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__watch_commands] )) ||
_agentctl__subcmd__help__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help watch commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__help__subcmd__write_commands] )) ||
_agentctl__subcmd__help__subcmd__write_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl help write commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__inventory_commands] )) ||
_agentctl__subcmd__inventory_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl inventory commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__login_commands] )) ||
_agentctl__subcmd__login_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl login commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__logs_commands] )) ||
_agentctl__subcmd__logs_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl logs commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__nodes_commands] )) ||
_agentctl__subcmd__nodes_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl nodes commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan_commands] )) ||
_agentctl__subcmd__plan_commands() {
    local commands; commands=(
'erase:Erases the disks of nodes' \
'write:Writes an image to the root disk of nodes' \
'raid:Makes or removes software RAID' \
'run:Runs a step, or any command of the protocol' \
'power:Powers nodes off, or boots them into the deployed system' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl plan commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__erase_commands] )) ||
_agentctl__subcmd__plan__subcmd__erase_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan erase commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help_commands] )) ||
_agentctl__subcmd__plan__subcmd__help_commands() {
    local commands; commands=(
'erase:Erases the disks of nodes' \
'write:Writes an image to the root disk of nodes' \
'raid:Makes or removes software RAID' \
'run:Runs a step, or any command of the protocol' \
'power:Powers nodes off, or boots them into the deployed system' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl plan help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__erase_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__erase_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help erase commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__help_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__power_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__power_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help power commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__raid_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__raid_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help raid commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__run_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help run commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__help__subcmd__write_commands] )) ||
_agentctl__subcmd__plan__subcmd__help__subcmd__write_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan help write commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__power_commands] )) ||
_agentctl__subcmd__plan__subcmd__power_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan power commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__raid_commands] )) ||
_agentctl__subcmd__plan__subcmd__raid_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan raid commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__run_commands] )) ||
_agentctl__subcmd__plan__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan run commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__plan__subcmd__write_commands] )) ||
_agentctl__subcmd__plan__subcmd__write_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl plan write commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__power_commands] )) ||
_agentctl__subcmd__power_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl power commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__raid_commands] )) ||
_agentctl__subcmd__raid_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl raid commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__run_commands] )) ||
_agentctl__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl run commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__steps_commands] )) ||
_agentctl__subcmd__steps_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl steps commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token_commands] )) ||
_agentctl__subcmd__token_commands() {
    local commands; commands=(
'create:Makes a token and prints it, once' \
'list:Lists the tokens, without their secrets' \
'revoke:Ends a token' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl token commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__create_commands] )) ||
_agentctl__subcmd__token__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token create commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__help_commands] )) ||
_agentctl__subcmd__token__subcmd__help_commands() {
    local commands; commands=(
'create:Makes a token and prints it, once' \
'list:Lists the tokens, without their secrets' \
'revoke:Ends a token' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'agentctl token help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__help__subcmd__create_commands] )) ||
_agentctl__subcmd__token__subcmd__help__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token help create commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__help__subcmd__help_commands] )) ||
_agentctl__subcmd__token__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token help help commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__help__subcmd__list_commands] )) ||
_agentctl__subcmd__token__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token help list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__help__subcmd__revoke_commands] )) ||
_agentctl__subcmd__token__subcmd__help__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token help revoke commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__list_commands] )) ||
_agentctl__subcmd__token__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token list commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__token__subcmd__revoke_commands] )) ||
_agentctl__subcmd__token__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl token revoke commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__watch_commands] )) ||
_agentctl__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl watch commands' commands "$@"
}
(( $+functions[_agentctl__subcmd__write_commands] )) ||
_agentctl__subcmd__write_commands() {
    local commands; commands=()
    _describe -t commands 'agentctl write commands' commands "$@"
}

if [ "$funcstack[1]" = "_agentctl" ]; then
    _agentctl "$@"
else
    compdef _agentctl agentctl
fi
