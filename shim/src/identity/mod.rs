//! Which node a machine is, by a certificate that this gateway signs.
//!
//! A machine makes a key and proves which node it is, by a [join token](join_token) or by the
//! node's agent token ([`Enrolment`]). The [authority](NodeAuthority) signs a short-lived
//! certificate for the [key](RequestedKey) with one name, a [SPIFFE ID](spiffe). Nothing here knows
//! gRPC.

mod attempts;
mod authority;
mod csr;
mod enrolment;
pub mod join_token;
pub mod spiffe;

pub use authority::{AuthorityError, IssuedCertificate, NodeAuthority, SERVER_LIFETIME};
pub use csr::{CsrError, RequestedKey};
pub use enrolment::{Enrolment, EnrolmentError, EnrolmentSetupError, NodeLabels, NodeProof};
pub use spiffe::{NodeIdentity, TrustDomain};
