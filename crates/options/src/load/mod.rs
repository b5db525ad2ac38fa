//! From the sources to the settings of a program, least important source first:
//!
//! ```text
//! default < kernel command line < virtual media < files < environment < command line
//!         < kernel parameters that are final
//! ```
//!
//! A command line can be read by every user of the machine: a secret option may have an
//! environment variable and an option that names a file with the secret. Such a file is as
//! important as the source that names it.
//!
//! Every source is read once: files may be pipes.

use std::ffi::OsString;
use std::path::Path;

use crate::command_line::CommandLine;
use crate::ini;
use crate::kernel::Parameters;
use crate::option::{Effect, Opt, Target, find};
use crate::{Settings, virtual_media};

mod error;
mod files;
mod secret_file;

pub use error::{ConfigError, Origin, Warning};
use secret_file::SecretFile;

/// The longest secret in a file, in bytes.
const MAX_SECRET_BYTES: usize = 4096;

/// The settings of a program, and what has to be said about them once there is a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<S> {
    /// The settings.
    pub settings: S,
    /// What will not work as it was asked for.
    pub warnings: Vec<Warning>,
    /// Settings that this program has no option for, `name (where)`: other programs may share
    /// the files.
    pub unknown: Vec<String>,
    /// The kernel's and the virtual medium's parameters, the latter after the former.
    pub parameters: Parameters,
}

impl<S> Loaded<S> {
    /// Logs what the operator should know.
    pub fn report(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        for unknown in &self.unknown {
            tracing::debug!(setting = %unknown, "unknown option");
        }
    }
}

impl<S: Settings> CommandLine<S> {
    /// Reads every other source and puts the command line above them. `root` stands for `/`
    /// where `/proc/cmdline`, virtual media and the default files are looked for.
    ///
    /// # Errors
    /// The first value that is not valid, with its source.
    pub fn load(self, root: &Path) -> Result<Loaded<S>, ConfigError> {
        let medium = virtual_media::directory(root);
        self.load_from(root, Some(&medium), |variable| std::env::var_os(variable))
    }

    /// Like [`CommandLine::load`], with the directory of virtual media and the environment.
    /// Virtual media are read when the kernel command line says `boot_method=vmedia`.
    fn load_from(
        self,
        root: &Path,
        virtual_media: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Loaded<S>, ConfigError> {
        let Self {
            options,
            assignments,
            files,
        } = self;
        let mut layers = Layers::new(&options, S::defaults(root));
        let kernel = Parameters::of_kernel(root);
        layers.parameters(&kernel, |key| Origin::Kernel { key })?;
        let medium = virtual_media
            .filter(|_| kernel.boots_from_virtual_media())
            .map(Parameters::of_virtual_media)
            .unwrap_or_default();
        layers.parameters(&medium, |key| Origin::VirtualMedia { key })?;
        for file in files::to_read(&files, &S::PROGRAM, root)? {
            layers.file(&file)?;
        }
        layers.environment(environment)?;
        layers.command_line(&assignments)?;
        let parameters = kernel.followed_by(medium);
        layers.final_parameters(&parameters)?;
        layers.secret_files()?;
        layers.check_pairs();
        Ok(Loaded {
            settings: layers.settings,
            warnings: layers.warnings,
            unknown: layers.unknown,
            parameters,
        })
    }
}

/// Settings in the making: each source is laid over the ones before.
struct Layers<'a, S> {
    options: &'a [Opt<S>],
    settings: S,
    secret_files: Vec<SecretFile>,
    warnings: Vec<Warning>,
    unknown: Vec<String>,
}

impl<'a, S: Settings> Layers<'a, S> {
    fn new(options: &'a [Opt<S>], defaults: S) -> Self {
        Self {
            options,
            settings: defaults,
            secret_files: Vec::new(),
            warnings: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn set(&mut self, option: &Opt<S>, text: &str, origin: Origin) -> Result<(), ConfigError> {
        // Of a secret and the file that holds it, the more important source counts.
        self.secret_files.retain(|file| {
            let is_same = matches!(option.effect, Effect::FileOf(secret) if secret == file.option);
            !is_same && file.option != option.name
        });
        match option.effect {
            Effect::NotOffered(reason) => self.warnings.push(Warning::NotOffered {
                option: option.title(),
                reason,
                origin,
            }),
            Effect::FileOf(secret) => {
                let path = Some(text.trim()).filter(|path| !path.is_empty());
                self.secret_files.extend(path.map(|path| SecretFile {
                    option: secret,
                    path: path.into(),
                }));
            }
            Effect::Offered => {
                if !(option.slot.set)(&mut self.settings, text.trim()) {
                    return Err(ConfigError::Invalid {
                        option: option.title(),
                        origin,
                        expected: option.slot.expected,
                        given: (!option.slot.secret).then(|| text.to_owned()),
                    });
                }
            }
        }
        Ok(())
    }

    fn parameters(
        &mut self,
        parameters: &Parameters,
        origin: impl Fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        for key in parameters.agent_keys() {
            let origin = origin(key.to_owned());
            let text = parameters.get(key).unwrap_or_default();
            let options = self.options;
            match options.iter().find(|option| option.kernel == Some(key)) {
                Some(option) if option.is_kernel_final => {}
                Some(option) => self.set(option, text, origin)?,
                None => self.unknown.push(origin.to_string()),
            }
        }
        Ok(())
    }

    /// An operator who boots a machine to debug it must win over the image's files.
    fn final_parameters(&mut self, parameters: &Parameters) -> Result<(), ConfigError> {
        for option in self.options.iter().filter(|option| option.is_kernel_final) {
            let value = option
                .kernel
                .and_then(|key| Some((key, parameters.get(key)?)));
            if let Some((key, text)) = value {
                let key = key.to_owned();
                self.set(option, text, Origin::Kernel { key })?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let assignments = ini::parse(&text).map_err(|(line, error)| ConfigError::Syntax {
            path: path.to_owned(),
            line,
            error,
        })?;
        for assignment in assignments {
            let origin = Origin::File {
                path: path.to_owned(),
                line: assignment.line,
            };
            let target = Target {
                group: &assignment.group,
                key: &assignment.key,
            };
            match find(self.options, target) {
                Some(option) => self.set(option, &assignment.value, origin)?,
                None => self.unknown.push(format!("{} ({origin})", assignment.key)),
            }
        }
        Ok(())
    }

    fn environment(
        &mut self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), ConfigError> {
        for option in self.options {
            let Some(variable) = option.environment else {
                continue;
            };
            if let Some(text) = environment(variable) {
                self.set(
                    option,
                    &text.to_string_lossy(),
                    Origin::Environment { variable },
                )?;
            }
        }
        Ok(())
    }

    fn command_line(&mut self, assignments: &[(usize, String)]) -> Result<(), ConfigError> {
        for (index, text) in assignments {
            let option = &self.options[*index];
            let flag = option.flag();
            if option.slot.secret {
                self.warnings.push(Warning::SecretOnCommandLine {
                    option: flag.clone(),
                });
            }
            self.set(option, text, Origin::CommandLine { flag })?;
        }
        Ok(())
    }

    /// Reads the files that hold secrets.
    fn secret_files(&mut self) -> Result<(), ConfigError> {
        for file in std::mem::take(&mut self.secret_files) {
            let secret = file.read()?;
            let SecretFile { option, path } = file;
            let target = Target {
                group: "",
                key: option,
            };
            if let Some(option) = find(self.options, target) {
                // Every text that such a file may hold is a secret.
                let _ = (option.slot.set)(&mut self.settings, secret.text.reveal());
            }
            if secret.is_readable_by_all {
                self.warnings.push(Warning::SecretForAll { option, path });
            }
        }
        Ok(())
    }

    /// A certificate without its key has no effect, and the other way round.
    fn check_pairs(&mut self) {
        for option in self.options {
            let Some(other) = option.pair else { continue };
            let is_set = |name: &str| {
                let found = self.options.iter().find(|option| option.name == name);
                found.is_some_and(|option| !(option.slot.show)(&self.settings).is_empty())
            };
            let half = match (is_set(option.name), is_set(other)) {
                (true, false) => (option.name, other),
                (false, true) => (other, option.name),
                _ => continue,
            };
            let (present, missing) = half;
            self.warnings.push(Warning::HalfPair { present, missing });
        }
    }
}

#[cfg(test)]
mod tests;
