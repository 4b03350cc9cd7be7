//! Signatures of what is sent to webhooks, as Standard Webhooks 1.0 has them
//! (<https://www.standardwebhooks.com>, "Verifying signatures").

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret that is base64 begins with.
const BASE64_PREFIX: &str = "whsec_";

/// A shorter secret could be guessed (the specification: 24 to 64 bytes).
const MIN_BYTES: usize = 24;

/// Signs with one secret.
#[derive(Clone)]
pub struct Signer(Rc<Hmac<Sha256>>);

impl Signer {
    /// Takes a secret: base64 behind `whsec_`, or any other text as it is.
    ///
    /// # Errors
    ///
    /// It is not base64, or too short.
    pub fn from_secret(secret: &str) -> Result<Self, String> {
        let key = match secret.strip_prefix(BASE64_PREFIX) {
            Some(text) => {
                let decoded = BASE64_STANDARD.decode(text);
                decoded.map_err(|wrong| format!("not base64 behind {BASE64_PREFIX}: {wrong}"))?
            }
            None => secret.as_bytes().to_vec(),
        };
        if key.len() < MIN_BYTES {
            let length = key.len();
            return Err(format!(
                "a secret of {length} bytes; it must have {MIN_BYTES} at least"
            ));
        }
        let keyed = Hmac::new_from_slice(&key).map_err(|wrong| wrong.to_string())?;
        Ok(Self(Rc::new(keyed)))
    }

    /// The signature of a message: `v1,` and base64 of the HMAC of `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = (*self.0).clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        let code = mac.finalize().into_bytes();
        format!("v1,{}", BASE64_STANDARD.encode(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_as_other_implementations_make_it() {
        let signer = Signer::from_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").ok();
        let signature = signer.map(|signer| {
            signer.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
            )
        });
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature.as_deref(), Some(expected));
    }

    #[test]
    fn secrets_that_are_short_or_no_base64_are_refused() {
        for (secret, wrong) in [
            ("", "0 bytes"),
            ("12345678901234567890123", "23 bytes"),
            ("whsec_MfKQ", "3 bytes"),
            ("whsec_%", "not base64"),
        ] {
            let error = Signer::from_secret(secret).err().unwrap_or_default();
            assert!(error.contains(wrong), "{secret}: {error}");
        }
        assert!(Signer::from_secret("123456789012345678901234").is_ok());
    }
}
