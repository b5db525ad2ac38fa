//! The verbs, one file each: what a verb reads of its arguments, what it would do, what it
//! does. What it is called and what it takes is noted in the protocol, on its message.

use std::fmt;
use std::pin::Pin;

use serde_json::Value;

use super::arguments::VerbArguments;
use super::context::CommandContext;
use super::descriptor::VerbDescriptor;
use super::failure::Failure;
use super::plan::CommandPlan;
use crate::task::Task;

/// What the file of a verb brings.
pub trait Verb: fmt::Debug + Sized {
    /// The verb with its arguments, which fit the descriptor; `None` if the descriptor is of
    /// no command that this verb has.
    fn read(arguments: VerbArguments) -> Option<Self>;

    /// What can be checked before the command is admitted. Pure: the configuration is all it
    /// reads.
    ///
    /// # Errors
    /// `InvalidCommandParams` or `InvalidCommand`: the request is refused and leaves no record.
    fn check(&self, _context: &CommandContext) -> Result<(), Failure> {
        Ok(())
    }

    /// What the command would do, found out without changing anything.
    ///
    /// # Errors
    /// What would keep it from starting.
    fn plan(
        &self,
        context: &CommandContext,
    ) -> impl Future<Output = Result<CommandPlan, Failure>> + Send;

    /// Carries the command out.
    ///
    /// # Errors
    /// Why it failed.
    fn run(
        self,
        context: &CommandContext,
        task: &Task,
    ) -> impl Future<Output = Result<Value, Failure>> + Send;
}

/// A future of a verb; boxed, because a flow is a verb that runs verbs.
pub type VerbFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A command that is ready to run.
#[derive(Debug, Clone)]
pub struct Command {
    /// What it is called.
    pub verb: &'static VerbDescriptor,
    /// The verb with its arguments.
    pub call: VerbCall,
}

macro_rules! verbs {
    ($($file:ident::$verb:ident),+ $(,)?) => {
        $(pub mod $file;)+

        /// A verb with its arguments.
        #[derive(Debug, Clone)]
        pub enum VerbCall {
            $(
                #[doc = concat!("The verb `", stringify!($file), "`.")]
                $verb(Box<$file::$verb>),
            )+
        }

        impl Command {
            /// The command for these arguments; `None` for a verb that this agent does not
            /// have.
            #[must_use]
            pub fn read(arguments: VerbArguments) -> Option<Self> {
                let verb = arguments.verb();
                let call = match verb.verb {
                    $(
                        stringify!($file) => {
                            let call = <$file::$verb as Verb>::read(arguments)?;
                            VerbCall::$verb(Box::new(call))
                        }
                    )+
                    _ => return None,
                };
                Some(Self { verb, call })
            }

            /// See [`Verb::check`].
            ///
            /// # Errors
            /// The request is refused and leaves no record.
            pub fn check(&self, context: &CommandContext) -> Result<(), Failure> {
                match &self.call {
                    $(VerbCall::$verb(call) => call.check(context),)+
                }
            }

            /// See [`Verb::plan`].
            #[must_use]
            pub fn plan<'a>(&'a self, context: &'a CommandContext) -> VerbFuture<'a, CommandPlan> {
                match &self.call {
                    $(VerbCall::$verb(call) => Box::pin(call.plan(context)),)+
                }
            }

            /// See [`Verb::run`].
            #[must_use]
            pub fn run<'a>(
                self,
                context: &'a CommandContext,
                task: &'a Task,
            ) -> VerbFuture<'a, Value> {
                match self.call {
                    $(VerbCall::$verb(call) => Box::pin(call.run(context, task)),)+
                }
            }
        }
    };
}

verbs![
    get_steps::GetSteps,
    execute_step::ExecuteStep,
    prepare_image::PrepareImage,
    execute_bootc_install::ExecuteBootcInstall,
    run_image::RunImage,
    power_off::PowerOff,
    sync::Sync,
    get_partition_uuids::GetPartitionUuids,
    install_bootloader::InstallBootloader,
    collect_system_logs::CollectSystemLogs,
    finalize_rescue::FinalizeRescue,
    lockdown::Lockdown,
    get_hardware_info::GetHardwareInfo,
    set_node_info::SetNodeInfo,
    start_flow::StartFlow,
    write_image::WriteImage,
    erase::Erase,
    raid::Raid,
];

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::commands::arguments::GivenArguments;
    use crate::commands::descriptor::{ArgumentKind, VERBS};

    #[test]
    fn every_verb_of_the_protocol_has_its_file() {
        for verb in &VERBS {
            let named = verb.arguments.iter().filter(|argument| argument.required);
            let named = named.map(|argument| {
                let value = match argument.kind {
                    ArgumentKind::Text => Value::String(String::new()),
                    ArgumentKind::List => Value::Array(Vec::new()),
                    _ => Value::Object(Map::new()),
                };
                (argument.name.to_owned(), value)
            });
            let given = GivenArguments {
                named: named.collect(),
                ..GivenArguments::default()
            };
            let arguments = VerbArguments::check(verb, given).unwrap();
            assert!(Command::read(arguments).is_some(), "{}", verb.name);
        }
    }
}
