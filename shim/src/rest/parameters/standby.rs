//! Extension `standby`: images, power, caches.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};

/// The verb of `standby.<command>`.
pub(super) fn verb(command: &str, arguments: &mut Arguments) -> Parsed {
    Some(match command {
        "prepare_image" => prepare_image(arguments),
        "execute_bootc_install" => execute_bootc_install(arguments),
        "run_image" => Ok(Verb::RunImage(v1::RunImageCommand {})),
        "power_off" => Ok(Verb::PowerOff(v1::PowerOffCommand {})),
        "sync" => Ok(Verb::Sync(v1::SyncCommand {})),
        "get_partition_uuids" => Ok(Verb::GetPartitionUuids(v1::GetPartitionUuidsCommand {})),
        _ => return None,
    })
}

fn prepare_image(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::PrepareImage(v1::PrepareImageCommand {
        image_info: arguments.object("image_info")?,
        configdrive: arguments.text("configdrive")?,
    }))
}

fn execute_bootc_install(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::ExecuteBootcInstall(v1::ExecuteBootcInstallCommand {
        image_source: arguments.text("image_source")?.unwrap_or_default(),
        instance_info: arguments.object("instance_info")?,
        pull_secret: arguments.text("pull_secret")?,
        configdrive: arguments.text("configdrive")?,
    }))
}
