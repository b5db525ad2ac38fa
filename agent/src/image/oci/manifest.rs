//! Manifests and indexes of registries, and which of their layers is the disk image.
//!
//! The rules are Ironic's: among the entries of an index that name a `disktype`, those for this
//! machine's architecture, raw before qcow2; and of the manifest the only layer. What Ironic
//! leaves alone is read here, too, where there is no doubt: a tag that is a manifest itself,
//! and an index whose entries name no `disktype` but of which one is for this machine.

use serde_json::Value;
use thiserror::Error;

use super::reference::split_digest;

/// The media types that are asked for.
pub(super) const TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// `disktype` in the order of preference.
const DISK_TYPES: [&str; 4] = ["raw", "applehv", "qcow2", "qemu"];

/// The media type of a file that was pushed without one, and of an archive that is not compressed.
const UNNAMED_FILE: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media types of a container's configuration.
const CONTAINER_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// What a document leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestContent {
    /// The manifests to look at, by digest, best first.
    Manifests(Vec<String>),
    /// The disk image.
    Image(Layer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// `sha256:<digits>`.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: Option<u64>,
}

/// Why a document does not lead to a disk image.
#[derive(Debug, Error)]
pub(super) enum ManifestError {
    #[error("the registry's answer is not a manifest: {0}")]
    NoJson(#[from] serde_json::Error),
    #[error("the registry's answer is neither an index nor a manifest")]
    Neither,
    #[error("the manifest has {0} layers, a disk image has one: this is a container")]
    Layers(usize),
    #[error("the manifest's layer is a container's file system ({0}), not a disk image")]
    Container(String),
    #[error(
        "the index has {0} manifests that may be meant: annotate one with disktype raw or qcow2, \
         or name its digest"
    )]
    Ambiguous(usize),
    #[error("the index has no disk image (disktype {types}) for {0}", types = DISK_TYPES.join(", "))]
    NoImage(String),
    #[error("the manifest names an invalid digest")]
    Digest,
    #[error("the index is empty")]
    EmptyIndex,
    #[error("an index points to another")]
    NestedIndex,
}

/// Reads an index or a manifest for a machine of this architecture (as `uname -m` has it).
///
/// # Errors
/// Why it does not lead to a disk image.
pub(super) fn read(document: &[u8], architecture: &str) -> Result<ManifestContent, ManifestError> {
    let document: Value = serde_json::from_slice(document)?;
    if let Some(manifests) = document.get("manifests").and_then(Value::as_array) {
        return choose(manifests, architecture).map(ManifestContent::Manifests);
    }
    let Some(layers) = document.get("layers").and_then(Value::as_array) else {
        return Err(ManifestError::Neither);
    };
    let [layer] = layers.as_slice() else {
        return Err(ManifestError::Layers(layers.len()));
    };
    let media_type = text(layer, "mediaType").unwrap_or_default();
    if is_file_system(media_type, document.get("config")) {
        return Err(ManifestError::Container(media_type.to_owned()));
    }
    Ok(ManifestContent::Image(Layer {
        digest: digest(layer)?,
        size: layer.get("size").and_then(Value::as_u64),
    }))
}

/// Whether a layer is a container's file system. `oras push` calls every file a plain archive
/// unless it is given a media type: then the manifest's configuration is not a container's.
fn is_file_system(media_type: &str, config: Option<&Value>) -> bool {
    if media_type == UNNAMED_FILE {
        let kind = config.and_then(|config| text(config, "mediaType"));
        return kind.is_none_or(|kind| CONTAINER_CONFIGS.contains(&kind));
    }
    media_type.contains("rootfs") || media_type.contains(".tar") || media_type.ends_with("+tar")
}

fn choose(manifests: &[Value], architecture: &str) -> Result<Vec<String>, ManifestError> {
    let fits = |manifest: &&Value| {
        let platform = manifest.get("platform");
        let theirs = platform.and_then(|platform| text(platform, "architecture"));
        theirs.is_none_or(|theirs| is_same(theirs, architecture))
    };
    let disk_type = |manifest: &Value| {
        let annotations = manifest.get("annotations")?;
        text(annotations, "disktype").map(str::to_owned)
    };
    let fitting: Vec<&Value> = manifests.iter().filter(fits).collect();
    let mut ranked: Vec<(usize, &Value)> = fitting
        .iter()
        .filter_map(|manifest| {
            let disk_type = disk_type(manifest)?;
            let rank = DISK_TYPES.iter().position(|known| *known == disk_type)?;
            Some((rank, *manifest))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let chosen: Vec<&Value> = if ranked.is_empty() {
        let unnamed: Vec<_> = fitting
            .iter()
            .filter(|manifest| disk_type(manifest).is_none())
            .copied()
            .collect();
        if unnamed.len() > 1 {
            return Err(ManifestError::Ambiguous(unnamed.len()));
        }
        unnamed
    } else {
        ranked.into_iter().map(|(_, manifest)| manifest).collect()
    };
    if chosen.is_empty() {
        return Err(ManifestError::NoImage(architecture.to_owned()));
    }
    chosen.into_iter().map(digest).collect()
}

/// Registries say `amd64` and `arm64`, or what the kernel says.
fn is_same(theirs: &str, ours: &str) -> bool {
    let plain = |name: &str| match name {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        other => other.to_owned(),
    };
    plain(theirs) == plain(ours)
}

fn digest(descriptor: &Value) -> Result<String, ManifestError> {
    text(descriptor, "digest")
        .filter(|digest| split_digest(digest).is_some())
        .map(str::to_owned)
        .ok_or(ManifestError::Digest)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sha(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn found(document: &Value) -> Result<ManifestContent, String> {
        read(document.to_string().as_bytes(), "x86_64").map_err(|error| error.to_string())
    }

    #[test]
    fn the_only_layer_of_a_manifest_is_the_image() {
        let layer = json!({"mediaType": "application/zstd", "digest": sha("a"), "size": 7});
        assert_eq!(
            found(&json!({"layers": [layer]})),
            Ok(ManifestContent::Image(Layer {
                digest: sha("a"),
                size: Some(7)
            }))
        );
        let tar =
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": sha("a")});
        for (document, why) in [
            (json!({"layers": [layer, layer]}), "2 layers"),
            (json!({"layers": []}), "0 layers"),
            (json!({"layers": [tar]}), "a container's file system"),
            (json!({"layers": [{"digest": "sha256:../../x"}]}), "digest"),
            (json!({"errors": []}), "neither"),
            (json!([]), "neither"),
        ] {
            let error = found(&document).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(read(b"<html>", "x86_64").is_err());
    }

    /// `oras push image.raw`, as Ironic's documentation has it, names no media type.
    #[test]
    fn a_file_without_a_media_type_is_an_image_unless_the_manifest_is_a_containers() {
        let layer = json!({"mediaType": UNNAMED_FILE, "digest": sha("a"), "size": 7});
        let manifest = |config: &str| json!({"config": {"mediaType": config}, "layers": [layer]});
        for config in [
            "application/vnd.oci.empty.v1+json",
            "application/vnd.unknown.config.v1+json",
        ] {
            assert!(found(&manifest(config)).is_ok(), "{config}");
        }
        for config in CONTAINER_CONFIGS {
            let error = found(&manifest(config)).unwrap_err();
            assert!(error.contains("a container's file system"), "{error}");
        }
        assert!(found(&json!({"layers": [layer]})).is_err());
    }

    #[test]
    fn an_index_is_read_by_ironics_rules() {
        let entry = |letter: &str, disk_type: Option<&str>, architecture: Option<&str>| {
            json!({"digest": sha(letter), "annotations": {"disktype": disk_type},
                   "platform": {"architecture": architecture}})
        };
        for (entries, chosen) in [
            // Raw before qcow2, whatever the order; other machines' do not count.
            (
                vec![
                    entry("a", Some("qemu"), Some("amd64")),
                    entry("b", Some("qcow2"), Some("x86_64")),
                    entry("c", Some("applehv"), None),
                    entry("d", Some("raw"), Some("arm64")),
                    entry("e", Some("raw"), Some("amd64")),
                    entry("f", Some("hyperv"), Some("amd64")),
                    entry("0", None, Some("amd64")),
                ],
                Ok(vec!["e", "c", "b", "a"]),
            ),
            (
                vec![
                    entry("a", None, Some("amd64")),
                    entry("b", None, Some("s390x")),
                ],
                Ok(vec!["a"]),
            ),
            (
                vec![entry("a", None, None), entry("b", None, None)],
                Err("may be meant"),
            ),
            (
                vec![entry("a", Some("raw"), Some("aarch64"))],
                Err("for x86_64"),
            ),
            (vec![entry("a", Some("hyperv"), None)], Err("no disk image")),
            (vec![], Err("no disk image")),
        ] {
            match (found(&json!({"manifests": entries})), chosen) {
                (Ok(found), Ok(chosen)) => {
                    let digests = chosen.into_iter().map(sha).collect();
                    assert_eq!(found, ManifestContent::Manifests(digests));
                }
                (Err(error), Err(why)) => assert!(error.contains(why), "{error}"),
                (found, chosen) => panic!("{found:?} instead of {chosen:?}"),
            }
        }
    }

    #[test]
    fn architectures_have_two_names() {
        assert!(is_same("amd64", "x86_64") && is_same("aarch64", "aarch64"));
        assert!(is_same("arm64", "aarch64") && !is_same("arm", "aarch64"));
    }
}
