//! Files that hold what was answered, reviewed as diffs. `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;

/// Compares a text with the golden file of that name.
pub fn check(name: &str, text: &str) {
    check_document(&format!("tests/golden/{name}"), text);
}

/// Compares a text with a file of the repository that is made of something else.
pub fn check_document(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (line, kept)) in text.lines().zip(kept.lines()).enumerate() {
        assert_eq!(line, kept, "{name}:{}: UPDATE_GOLDEN=1 accepts", number + 1);
    }
    assert_eq!(
        text.lines().count(),
        kept.lines().count(),
        "{name}: UPDATE_GOLDEN=1 accepts"
    );
}
