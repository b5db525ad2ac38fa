use super::*;

fn lab() -> GatewayContext {
    GatewayContext {
        gateway: "https://gw.example:9997".to_owned(),
        ca_file: Some("/etc/ca: 1.crt".into()),
        certificate_file: None,
        key_file: None,
    }
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/config.yaml");
    assert_eq!(ContextFile::read(&path).unwrap(), ContextFile::default());
    let file = ContextFile {
        current_context: Some("lab".to_owned()),
        contexts: [("lab".to_owned(), lab()), ("10".to_owned(), lab())].into(),
    };
    file.write(&path).unwrap();
    assert_eq!(ContextFile::read(&path).unwrap(), file);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_context_that_is_not_there_is_named_with_those_that_are() {
    let mut file = ContextFile::default();
    let path = Path::new("/c.yaml");
    let none = file.choose(None, path).unwrap_err();
    assert!(
        none.advice().contains("agentctl login"),
        "{}",
        none.advice()
    );
    file.contexts.insert("lab".to_owned(), lab());
    let unknown = file.choose(Some("prod"), path).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no context \"prod\" in /c.yaml"
    );
    assert!(unknown.advice().contains("lab"));
    assert!(
        file.choose(None, path)
            .unwrap_err()
            .advice()
            .contains("lab")
    );
    assert_eq!(file.choose(Some("lab"), path).unwrap().1, &lab());
}

#[test]
fn a_key_that_does_not_exist_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(
        &path,
        "contexts: {lab: {gateway: 'unix:/x', certificate: /y}}",
    )
    .unwrap();
    let error = ContextFile::read(&path).unwrap_err();
    assert!(
        ironic_text::error_chain(&error).contains("certificate"),
        "{error:?}"
    );
}

#[test]
fn the_place_follows_the_option_and_the_environment() {
    let variables = |name: &str| match name {
        "HOME" => Some(PathBuf::from("/home/me")),
        _ => None,
    };
    let found = |option, variable: &dyn Fn(&str) -> Option<PathBuf>| config_path(option, variable);
    assert_eq!(
        found(Some(Path::new("x")), &variables).unwrap(),
        Path::new("x")
    );
    assert_eq!(
        found(None, &variables).unwrap(),
        Path::new("/home/me/.config/agentctl/config.yaml")
    );
    let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| PathBuf::from("/c"));
    assert_eq!(
        found(None, &xdg).unwrap(),
        Path::new("/c/agentctl/config.yaml")
    );
    assert!(matches!(found(None, &|_| None), Err(ContextError::NoHome)));
}
