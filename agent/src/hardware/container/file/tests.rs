//! What operators write, and what is wrong with it.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const FILE: &str = "---\n# steps of this ramdisk\nsteps:\n  - name: manage_container\n    image: docker://172.24.4.1:5000/cleaning:latest # ours\n    interface: deploy\n    reboot_requested: False\n    pull_options: \"--tls-verify=false --quiet\"\n    run_options:\n      - --rm\n      - --network=host\n    abortable: true\n    priority: 20\n\n  -\n    name: other\n    image: 'example.com/x#1'\n    interface: deploy\n    reboot_requested: yes\n    run_options: [--rm, \"-it\"]\n    abortable: no\n    priority: 0\n";

#[test]
fn reads_what_such_files_hold() {
    let steps = parse(FILE, &[]).unwrap();
    let expected = FileStep {
        name: "manage_container".to_owned(),
        image: "docker://172.24.4.1:5000/cleaning:latest".to_owned(),
        interface: "deploy".to_owned(),
        priority: 20,
        reboot_requested: false,
        abortable: true,
        pull_options: vec!["--tls-verify=false --quiet".to_owned()],
        run_options: vec!["--rm".to_owned(), "--network=host".to_owned()],
    };
    assert_eq!(steps[0], expected);
    assert_eq!(steps[1].image, "example.com/x#1");
    assert_eq!(steps[1].run_options, ["--rm", "-it"]);
    assert!(steps[1].reboot_requested && !steps[1].abortable);
    for none in ["", "---\n", "steps:\n", "steps: []\n", "other: 1\n"] {
        assert_eq!(parse(none, &[]).unwrap(), Vec::new(), "{none:?}");
    }
    // A list as far left as its key.
    let left = document("a:\n- 1\n- x: 2\n  y: 3\nb: 4\n").unwrap();
    assert_eq!(left, json!({"a": [1, {"x": 2, "y": 3}], "b": 4}));
}

/// Ironic and the Python agent take any text, and one refused name would cost all steps.
#[test]
fn a_name_may_be_what_operators_write() {
    let file = |name: &str| FILE.replace("name: other", &format!("name: {name}"));
    for name in [
        "burn-in",
        "vendor.check",
        "update bios",
        "étape",
        "\"1-a\"",
        "9lives",
    ] {
        let steps = parse(&file(name), &[]).unwrap();
        assert_eq!(steps[1].name, name.trim_matches('"'));
    }
    for bad in ["_private", "\" blank\"", "\"\""] {
        assert!(parse(&file(bad), &[]).is_err(), "{bad}");
    }
}

#[test]
fn invalid_files_name_the_error() {
    let with = |more: &str| format!("steps:\n- name: a\n  image: b\n{more}");
    let rest = "  interface: deploy\n  reboot_requested: false\n  abortable: true\n";
    let cases = [
        ("- a\n".to_owned(), "a mapping with the key 'steps'"),
        ("steps: 3\n".to_owned(), "'steps' must be a list"),
        ("steps:\n- 3\n".to_owned(), "each step must be a mapping"),
        (
            "steps:\n- image: b\n".to_owned(),
            "<unnamed> needs the key 'name'",
        ),
        (with(rest), "step a needs the key 'priority'"),
        (
            with(&format!("{rest}  priority: high\n")),
            "'priority' must be a whole number",
        ),
        (
            with(&format!("{rest}  priority: 1\n")).replace("name: a", "name: erase_devices"),
            "there is another step of the name erase_devices",
        ),
        (
            with(&format!("{rest}  priority: 1\n")).replace("name: a", "name: _x"),
            "step \"_x\": 'name' must not begin with an underscore",
        ),
        (with("  image: c\n"), "key `image` is not allowed here"),
        (with("  x: *y\n"), "at line 4, column 6"),
        (with("\tx: 1\n"), "found a tab at line 3"),
        (with("   x: 1\n"), "line 4"),
        (with("  x: \"a\n"), "line 4"),
        (with("  x: [1\n"), "line 4"),
        ("---\na: 1\n---\nb: 2\n".to_owned(), "line "),
    ];
    for (text, expected) in cases {
        let problem = parse(&text, &["erase_devices"]).unwrap_err().to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

/// What operators write who have many steps, and whom the subset of YAML of earlier
/// versions refused.
#[test]
fn anchors_blocks_and_quotes_are_what_yaml_says() {
    let text = r#"# Common to all steps.
defaults: &defaults
    interface: deploy
    reboot_requested: no
    abortable: yes
    run_options: &options ["--rm", '--network=host']   # of podman
steps:
    - <<: *defaults
      name: first
      image: "docker://example.com/first:1"
      priority: 20
      pull_options: >-
          --quiet
          --tls-verify=false
    - {<<: *defaults, name: 'it''s second', image: example.com/second#2, priority: 0}
    - name: third
      image: |
          example.com/third
      interface: "deploy"
      reboot_requested: off
      abortable: TRUE
      priority: 0x10
      run_options: *options
"#;
    let steps = parse(text, &[]).unwrap();
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (step.name.as_str(), step.image.as_str(), step.priority))
        .collect();
    assert_eq!(
        shown,
        [
            ("first", "docker://example.com/first:1", 20),
            ("it's second", "example.com/second#2", 0),
            ("third", "example.com/third", 16),
        ]
    );
    for step in &steps {
        assert_eq!(step.interface, "deploy");
        assert_eq!(step.run_options, ["--rm", "--network=host"]);
        assert!(step.abortable && !step.reboot_requested);
    }
    assert_eq!(steps[0].pull_options, ["--quiet --tls-verify=false"]);
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{inner}]\n");
    }
    for hostile in [
        bomb,
        "[".repeat(1 << 20),
        "- ".repeat(1 << 19),
        "{a: ".repeat(1 << 18),
    ] {
        assert!(matches!(parse(&hostile, &[]), Err(InvalidSteps::Yaml(_))));
    }
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.yaml");
    std::fs::write(&large, "#".repeat(2 << 20)).unwrap();
    assert!(matches!(
        read(&large, &[]),
        Err(InvalidSteps::Unreadable(_))
    ));
}

proptest! {
    #[test]
    fn nonsense_is_survived(text in "[-a:# \\[\\]{}&*<|>?%!'\"\n\t,1]{0,80}") {
        let _ = parse(&text, &[]);
    }
}
