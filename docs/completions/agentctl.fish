# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_agentctl_global_optspecs
    string join \n config= context= agent= agent-token-file= ca-file= certificate-file= key-file= timeout= parallel= o/output= h/help V/version
end

function __fish_agentctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_agentctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_agentctl_using_subcommand
    set -l cmd (__fish_agentctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c agentctl -n "__fish_agentctl_needs_command" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_needs_command" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_needs_command" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_needs_command" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_needs_command" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_needs_command" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_needs_command" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_needs_command" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_needs_command" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_needs_command" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_needs_command" -s V -l version -d 'Print version'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "nodes" -d 'Lists the nodes'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "get" -d 'Shows nodes in full, with their commands'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "inventory" -d 'Shows the hardware of nodes, read now by their agents'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "steps" -d 'Lists the steps that nodes offer'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "plan" -d 'Shows what a command would do and which data would be lost; changes nothing'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "erase" -d 'Erases the disks of nodes'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "write" -d 'Writes an image to the root disk of nodes'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "raid" -d 'Makes or removes software RAID'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "run" -d 'Runs a step, or any command of the protocol'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "watch" -d 'Follows nodes live: a line with a bar for each'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "events" -d 'Prints what changes about nodes, one line each'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "logs" -d 'Prints the logs of nodes, or fetches them as archives'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "cancel" -d 'Cancels the command that runs'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "power" -d 'Powers nodes off, or boots them into the deployed system'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "token" -d 'Makes, lists and revokes join tokens, which prove to a gateway which node a machine is'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "login" -d 'Writes a context: a gateway, its CA, and the caller\'s certificate and key'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "contexts" -d 'Lists, chooses and removes contexts'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "completion" -d 'Prints the completion script of a shell'
complete -c agentctl -n "__fish_agentctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -s l -l selector -d 'Only those that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l state -d 'Only those in this state; may be repeated' -r -f -a "attached\t'The agent can be called'
away\t'The agent cannot be called'
closed\t'The machine was handed over or locked down'
elsewhere\t'Another gateway holds the agent, and passes calls on'"
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand nodes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -l last -d 'The last inspection report that the gateway has taken, also of a node that is away'
complete -c agentctl -n "__fish_agentctl_using_subcommand inventory" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l phase -d 'Of which step machine' -r -f -a "clean\t'Before a node becomes available'
deploy\t'Deployment of an instance'
service\t'Servicing of a node that holds an instance'"
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand steps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "erase" -d 'Erases the disks of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "write" -d 'Writes an image to the root disk of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "raid" -d 'Makes or removes software RAID'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "run" -d 'Runs a step, or any command of the protocol'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "power" -d 'Powers nodes off, or boots them into the deployed system'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and not __fish_seen_subcommand_from erase write raid run power help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l method -d 'How thoroughly' -r -f -a "data\t'All data, by the drive itself where it can'
metadata\t'Partition tables and signatures only: seconds, and the data can be found again'
express\t'All data of NVMe drives, by formatting, and the metadata of other disks'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l disk -d 'Only this disk, a path or KEY=VALUE,... that describes it; may be repeated' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l concurrency -d 'How many disks of a node at the same time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l sanitize -d 'Let NVMe and SCSI drives sanitize themselves where they can'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -l skip-read-only -d 'Leave read-only disks alone, which otherwise fail the command'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l image -d 'Where the image is; repeated: tried in this order' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l sha256 -d 'SHA-256 of the image, or the URL of a list as sha256sum writes it' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l sha384 -d 'SHA-384 of the image, or the URL of a list' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l sha512 -d 'SHA-512 of the image, or the URL of a list' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l format -d 'What the image is; without it qcow2 and disks with a partition table are found out' -r -f -a "raw\t'The bytes of a disk, also compressed'
qcow2\t'QEMU\'s copy-on-write format'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l disk -d 'The disk, a path or KEY=VALUE,... that describes it; the node\'s root device when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l config-drive -d 'A config drive: a URL, or a file with an ISO 9660 or VFAT image, as it is or packed by gzip' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l boot-mode -d 'How the deployed system boots; as the node or the ramdisk does when not given' -r -f -a "uefi\t'UEFI'
bios\t'BIOS'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l image-user -d 'The user at the image server' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l image-password-file -d 'Its first line is the password of --image-user' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l image-authorization-file -d 'Its first line is sent to the image server as Authorization header' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from write" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l layout -d 'The arrays to make: a JSON or YAML file with the `volumes` of a RaidCommand' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l delete -d 'Remove all arrays'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -l keep-existing -d 'Keep the arrays that there are, beside the new ones'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from raid" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l step -d 'A step by interface and name, for example deploy.erase_devices_metadata' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l phase -d 'The step machine of the step' -r -f -a "clean\t'Before a node becomes available'
deploy\t'Deployment of an instance'
service\t'Servicing of a node that holds an instance'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l argument -d 'An argument of the step; a value that is not JSON is a text. May be repeated' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l node-document -d 'A file, JSON or YAML, with the node as the step sees it; its UUID is added' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l command -d 'A message ironic.agent.v1.Command as JSON, for example \'{"sync": {}}\'' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l file -d 'A file with such a message, JSON or YAML' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from power" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "erase" -d 'Erases the disks of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "write" -d 'Writes an image to the root disk of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "raid" -d 'Makes or removes software RAID'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "run" -d 'Runs a step, or any command of the protocol'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "power" -d 'Powers nodes off, or boots them into the deployed system'
complete -c agentctl -n "__fish_agentctl_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l method -d 'How thoroughly' -r -f -a "data\t'All data, by the drive itself where it can'
metadata\t'Partition tables and signatures only: seconds, and the data can be found again'
express\t'All data of NVMe drives, by formatting, and the metadata of other disks'"
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l disk -d 'Only this disk, a path or KEY=VALUE,... that describes it; may be repeated' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l concurrency -d 'How many disks of a node at the same time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l deadline -d 'Cancel the command after this time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l on-interrupt -d 'What Ctrl-C does to commands that run' -r -f -a "ask\t'Ask; without a terminal as detach'
cancel\t'Cancel them'
detach\t'Leave them running'"
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l sanitize -d 'Let NVMe and SCSI drives sanitize themselves where they can'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l skip-read-only -d 'Leave read-only disks alone, which otherwise fail the command'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -s y -l yes -d 'Do not ask before data is lost'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -l detach -d 'Give the command and end, without following it'
complete -c agentctl -n "__fish_agentctl_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l image -d 'Where the image is; repeated: tried in this order' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l sha256 -d 'SHA-256 of the image, or the URL of a list as sha256sum writes it' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l sha384 -d 'SHA-384 of the image, or the URL of a list' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l sha512 -d 'SHA-512 of the image, or the URL of a list' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l format -d 'What the image is; without it qcow2 and disks with a partition table are found out' -r -f -a "raw\t'The bytes of a disk, also compressed'
qcow2\t'QEMU\'s copy-on-write format'"
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l disk -d 'The disk, a path or KEY=VALUE,... that describes it; the node\'s root device when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l config-drive -d 'A config drive: a URL, or a file with an ISO 9660 or VFAT image, as it is or packed by gzip' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l boot-mode -d 'How the deployed system boots; as the node or the ramdisk does when not given' -r -f -a "uefi\t'UEFI'
bios\t'BIOS'"
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l image-user -d 'The user at the image server' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l image-password-file -d 'Its first line is the password of --image-user' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l image-authorization-file -d 'Its first line is sent to the image server as Authorization header' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l deadline -d 'Cancel the command after this time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l on-interrupt -d 'What Ctrl-C does to commands that run' -r -f -a "ask\t'Ask; without a terminal as detach'
cancel\t'Cancel them'
detach\t'Leave them running'"
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -s y -l yes -d 'Do not ask before data is lost'
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -l detach -d 'Give the command and end, without following it'
complete -c agentctl -n "__fish_agentctl_using_subcommand write" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l layout -d 'The arrays to make: a JSON or YAML file with the `volumes` of a RaidCommand' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l deadline -d 'Cancel the command after this time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l on-interrupt -d 'What Ctrl-C does to commands that run' -r -f -a "ask\t'Ask; without a terminal as detach'
cancel\t'Cancel them'
detach\t'Leave them running'"
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l delete -d 'Remove all arrays'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l keep-existing -d 'Keep the arrays that there are, beside the new ones'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -s y -l yes -d 'Do not ask before data is lost'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -l detach -d 'Give the command and end, without following it'
complete -c agentctl -n "__fish_agentctl_using_subcommand raid" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l step -d 'A step by interface and name, for example deploy.erase_devices_metadata' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l phase -d 'The step machine of the step' -r -f -a "clean\t'Before a node becomes available'
deploy\t'Deployment of an instance'
service\t'Servicing of a node that holds an instance'"
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l argument -d 'An argument of the step; a value that is not JSON is a text. May be repeated' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l node-document -d 'A file, JSON or YAML, with the node as the step sees it; its UUID is added' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l command -d 'A message ironic.agent.v1.Command as JSON, for example \'{"sync": {}}\'' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l file -d 'A file with such a message, JSON or YAML' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l deadline -d 'Cancel the command after this time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l on-interrupt -d 'What Ctrl-C does to commands that run' -r -f -a "ask\t'Ask; without a terminal as detach'
cancel\t'Cancel them'
detach\t'Leave them running'"
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -s y -l yes -d 'Do not ask before data is lost'
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -l detach -d 'Give the command and end, without following it'
complete -c agentctl -n "__fish_agentctl_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -l until-idle -d 'End when no command runs any more; the exit code says how the commands ended'
complete -c agentctl -n "__fish_agentctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l resume -d 'Go on after the event that had this resume_token in -o json' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l count -d 'End after this many events' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l tail -d 'Begin with the last so many records; with the oldest that is kept when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l source -d 'Only this log; may be repeated' -r -f -a "agent\t'The agent\'s own'
kernel\t'The kernel\'s'"
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l cursor -d 'Go on after the record that had this cursor in -o json' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l archive -d 'Write the archive of all logs, a gzip of a tar, to DIR/NODE.tar.gz' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -s f -l follow -d 'Go on with new records'
complete -c agentctl -n "__fish_agentctl_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l id -d 'The command; the one that runs when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l reason -d 'Why, for the record of the command' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -s l -l selector -d 'All nodes that have these labels' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l deadline -d 'Cancel the command after this time' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l on-interrupt -d 'What Ctrl-C does to commands that run' -r -f -a "ask\t'Ask; without a terminal as detach'
cancel\t'Cancel them'
detach\t'Leave them running'"
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l all -d 'All nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -s y -l yes -d 'Do not ask before data is lost'
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -l detach -d 'Give the command and end, without following it'
complete -c agentctl -n "__fish_agentctl_using_subcommand power" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "create" -d 'Makes a token and prints it, once'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "list" -d 'Lists the tokens, without their secrets'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "revoke" -d 'Ends a token'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l node -d 'The only node that it is for' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -s l -l selector -d 'Labels that the node must have' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l uses -d 'How often it may be used' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l lifetime -d 'How long it may be used; an hour when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "create" -d 'Makes a token and prints it, once'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the tokens, without their secrets'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Ends a token'
complete -c agentctl -n "__fish_agentctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l gateway -d 'The gateway\'s fleet_listen: https://HOST:PORT, http://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -l offline -d 'Write the context without calling the gateway'
complete -c agentctl -n "__fish_agentctl_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -f -a "list" -d 'Lists the contexts; the current one has a star'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -f -a "use" -d 'Makes a context the current one'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -f -a "remove" -d 'Removes a context from the file'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and not __fish_seen_subcommand_from list use remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from use" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the contexts; the current one has a star'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from help" -f -a "use" -d 'Makes a context the current one'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Removes a context from the file'
complete -c agentctl -n "__fish_agentctl_using_subcommand contexts; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l config -d 'The configuration file; ~/.config/agentctl/config.yaml when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l context -d 'The context of the configuration file; its current one when not given' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l agent -d 'Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l agent-token-file -d 'The file that holds the agent token, with --agent' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l ca-file -d 'PEM certificates that the server\'s must chain to; those of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l certificate-file -d 'PEM certificate of the caller; that of the context when not given' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l key-file -d 'PEM key of the certificate' -r -F
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l timeout -d 'How long an answer may take; an order is asked about again, and commands may run for longer' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -l parallel -d 'How many nodes are worked on at once' -r
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -s o -l output -d 'How results are printed' -r -f -a "table\t'For a person'
json\t'One JSON document; one for each line where results come one by one'
yaml\t'The same as YAML'
name\t'Names or identifiers, one each line'"
complete -c agentctl -n "__fish_agentctl_using_subcommand completion" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "nodes" -d 'Lists the nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "get" -d 'Shows nodes in full, with their commands'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "inventory" -d 'Shows the hardware of nodes, read now by their agents'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "steps" -d 'Lists the steps that nodes offer'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "plan" -d 'Shows what a command would do and which data would be lost; changes nothing'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "erase" -d 'Erases the disks of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "write" -d 'Writes an image to the root disk of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "raid" -d 'Makes or removes software RAID'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "run" -d 'Runs a step, or any command of the protocol'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "watch" -d 'Follows nodes live: a line with a bar for each'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "events" -d 'Prints what changes about nodes, one line each'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "logs" -d 'Prints the logs of nodes, or fetches them as archives'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "cancel" -d 'Cancels the command that runs'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "power" -d 'Powers nodes off, or boots them into the deployed system'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "token" -d 'Makes, lists and revokes join tokens, which prove to a gateway which node a machine is'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "login" -d 'Writes a context: a gateway, its CA, and the caller\'s certificate and key'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "contexts" -d 'Lists, chooses and removes contexts'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "completion" -d 'Prints the completion script of a shell'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and not __fish_seen_subcommand_from nodes get inventory steps plan erase write raid run watch events logs cancel power token login contexts completion help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "erase" -d 'Erases the disks of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "write" -d 'Writes an image to the root disk of nodes'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "raid" -d 'Makes or removes software RAID'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "run" -d 'Runs a step, or any command of the protocol'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "power" -d 'Powers nodes off, or boots them into the deployed system'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "create" -d 'Makes a token and prints it, once'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'Lists the tokens, without their secrets'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Ends a token'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from contexts" -f -a "list" -d 'Lists the contexts; the current one has a star'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from contexts" -f -a "use" -d 'Makes a context the current one'
complete -c agentctl -n "__fish_agentctl_using_subcommand help; and __fish_seen_subcommand_from contexts" -f -a "remove" -d 'Removes a context from the file'
