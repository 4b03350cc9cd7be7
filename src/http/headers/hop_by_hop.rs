//! Which header fields go on, and which concern one connection only.

use crate::h1::header_name;

/// Whether a header of this name, a token in any case, concerns one connection only (RFC 9110,
/// section 7.6.1, and the older Keep-Alive and Proxy-Connection), or its length, which goes
/// separately: what writes the message knows it.
///
/// Expect is one of them (RFC 9110, section 10.1.1). `100-continue` is answered as soon as the
/// body is asked for, and the replica's own answer would come too late. The head goes on at once
/// all the same, and a replica's early response (a 413, say) reaches the client while its body is
/// still on the way.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    // The length alone tells most names apart.
    let candidates: &[&str] = match name.len() {
        2 => &["te"],
        6 => &["expect"],
        7 => &["upgrade", "trailer"],
        10 => &["connection", "keep-alive"],
        14 => &["content-length"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => return false,
    };
    let mut candidates = candidates.iter();
    candidates.any(|other| header_name::eq_ignore_case(name, other.as_bytes()))
}
