"""What `release/build` makes, one kind of artefact a module. The same input gives the same bytes.

  files.py     errors, digests, archives, programs that have to succeed
  inputs.py    what a release is made of: version, date, programs, ramdisk, Debian packages
  boot.py      the EFI system partition and the hybrid ISO
  uki.py       the unified kernel image
  oci.py       OCI layouts: the ramdisk for agentImages and ORAS, the container of the gateway
  deb.py       Debian packages
  sbom.py      CycloneDX: which crates and Debian packages are in an artefact
  signing.py   the programs that sign, and the check of what they did
"""
