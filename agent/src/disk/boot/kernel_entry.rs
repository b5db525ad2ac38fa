//! What a deployed system boots first: its kernel, its initial ramdisk and the kernel's arguments, as
//! its boot loader's configuration says them. Text in, values out.

/// A kernel and what it is started with. Paths are within the file system that the configuration
/// is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelEntry {
    /// The kernel.
    pub(super) kernel: String,
    /// The initial ramdisks, in order.
    pub(super) initrds: Vec<String>,
    /// The kernel's arguments.
    pub(super) arguments: String,
}

/// The first entry of a GRUB menu, which is what GRUB boots unless it is configured otherwise. Lines
/// of a submenu come after it.
pub(super) fn of_grub(menu: &str) -> Option<KernelEntry> {
    let mut lines = menu.lines().map(str::trim);
    let (kernel, arguments) = lines.find_map(|line| {
        let rest = command(line, &["linux", "linuxefi", "linux16"])?;
        let (kernel, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some((kernel, arguments))
    })?;
    let entry = lines.take_while(|line| !line.starts_with("menuentry") && *line != "}");
    let initrds = entry
        .filter_map(|line| command(line, &["initrd", "initrdefi", "initrd16"]))
        .flat_map(str::split_whitespace);
    entry_of(kernel, initrds, arguments)
}

/// An entry of the Boot Loader Specification, type 1: a file of `loader/entries`.
pub(super) fn of_loader_entry(text: &str) -> Option<KernelEntry> {
    let arguments: Vec<&str> = values(text, "options").collect();
    let initrds = values(text, "initrd").flat_map(str::split_whitespace);
    entry_of(values(text, "linux").next()?, initrds, &arguments.join(" "))
}

/// The values of a key.
fn values<'a>(text: &'a str, key: &'static str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| command(line, &[key]))
}

/// Which of several file names of entries is booted: the newest, as its version says.
pub(super) fn newest(names: Vec<String>) -> Option<String> {
    let is_entry = |name: &String| name.ends_with(".conf") && !name.contains("rescue");
    names
        .into_iter()
        .filter(is_entry)
        .max_by_key(|name| version(name))
}

/// The numbers in a name; between two of the same, the name decides.
fn version(name: &str) -> (Vec<u64>, String) {
    // What is before the first '-' is the machine's identifier.
    let behind = name.split_once('-').map_or(name, |(_, behind)| behind);
    let numbers = behind.split(|letter: char| !letter.is_ascii_digit());
    let numbers = numbers.filter_map(|digits| digits.parse().ok());
    (numbers.collect(), name.to_owned())
}

/// What is behind one of these words at the beginning of a line.
fn command<'a>(line: &'a str, words: &[&str]) -> Option<&'a str> {
    let (word, rest) = line.trim().split_once(char::is_whitespace)?;
    words.contains(&word).then(|| rest.trim())
}

/// Variables that tools put there stand for nothing without them.
fn entry_of<'a>(
    kernel: &str,
    initrds: impl Iterator<Item = &'a str>,
    arguments: &str,
) -> Option<KernelEntry> {
    let is_known = |word: &&str| !word.starts_with('$');
    let arguments = arguments.split_whitespace();
    let arguments: Vec<&str> = arguments.filter(is_known).collect();
    // Without a root the kernel would find no system.
    let has_root = arguments.iter().any(|word| word.starts_with("root="));
    (is_known(&kernel) && has_root).then(|| KernelEntry {
        kernel: kernel.to_owned(),
        initrds: initrds.filter(is_known).map(str::to_owned).collect(),
        arguments: arguments.join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRUB: &str = r#"
if [ "${next_entry}" ] ; then set default="${next_entry}"; fi
menuentry 'Debian GNU/Linux' --class debian {
	load_video
	search --no-floppy --fs-uuid --set=root 6f0f
	echo	'Loading Linux 6.12.0-1-cloud-amd64 ...'
	linux	/boot/vmlinuz-6.12.0-1-cloud-amd64 root=PARTUUID=2d5 ro quiet $vt_handoff console=ttyS0
	initrd	/boot/initrd.img-6.12.0-1-cloud-amd64
}
submenu 'Advanced options' {
	menuentry 'older' {
		linux	/boot/vmlinuz-6.1 root=PARTUUID=2d5 ro single
		initrd	/boot/initrd.img-6.1
	}
}
"#;

    fn entry(kernel: &str, initrds: &[&str], arguments: &str) -> KernelEntry {
        KernelEntry {
            kernel: kernel.to_owned(),
            initrds: initrds.iter().map(|path| (*path).to_owned()).collect(),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn the_first_entry_of_a_menu_is_booted() {
        let expected = entry(
            "/boot/vmlinuz-6.12.0-1-cloud-amd64",
            &["/boot/initrd.img-6.12.0-1-cloud-amd64"],
            "root=PARTUUID=2d5 ro quiet console=ttyS0",
        );
        assert_eq!(of_grub(GRUB), Some(expected));
        for text in [
            "",
            "linux",
            "linux /vmlinuz quiet",
            "linux $kernel root=/dev/sda",
        ] {
            assert_eq!(of_grub(text), None, "{text}");
        }
        let bare = of_grub("linuxefi /vmlinuz root=UUID=1\n}\nmenuentry x {\ninitrd /other");
        assert_eq!(bare, Some(entry("/vmlinuz", &[], "root=UUID=1")));
    }

    #[test]
    fn an_entry_of_the_boot_loader_specification_is_read() {
        let text = "title Fedora Linux (6.11)\nversion 6.11\nlinux /vmlinuz-6.11\n\
                    initrd /initramfs-6.11.img $tuned_initrd\n\
                    options root=UUID=ab ro rootflags=subvol=root $tuned_params\n\
                    grub_users $grub_users\n";
        let expected = entry(
            "/vmlinuz-6.11",
            &["/initramfs-6.11.img"],
            "root=UUID=ab ro rootflags=subvol=root",
        );
        assert_eq!(of_loader_entry(text), Some(expected));
        assert_eq!(of_loader_entry("linux /x\noptions $kernelopts"), None);
    }

    #[test]
    fn the_newest_entry_is_booted() {
        let names = [
            "ab12-6.9.1.conf",
            "ab12-6.11.0.conf",
            "ab12-0-rescue.conf",
            "x.txt",
        ];
        let names = names.map(str::to_owned).to_vec();
        assert_eq!(newest(names).as_deref(), Some("ab12-6.11.0.conf"));
        assert_eq!(newest(Vec::new()), None);
    }
}
