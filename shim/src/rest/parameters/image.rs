//! Extension `image`: the boot loader.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};

/// The verb of `image.<command>`.
pub(super) fn verb(command: &str, arguments: &mut Arguments) -> Parsed {
    match command {
        "install_bootloader" => Some(install_bootloader(arguments)),
        _ => None,
    }
}

fn install_bootloader(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::InstallBootloader(v1::InstallBootloaderCommand {
        root_uuid: arguments.text("root_uuid")?,
        efi_system_part_uuid: arguments.text("efi_system_part_uuid")?,
        prep_boot_part_uuid: arguments.text("prep_boot_part_uuid")?,
        target_boot_mode: arguments.text("target_boot_mode")?,
        ignore_bootloader_failure: arguments.flag("ignore_bootloader_failure")?,
    }))
}
