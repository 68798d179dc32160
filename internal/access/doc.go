// Package access decides who may connect and what they may do. It checks
// credentials: tokens from files, JWTs (RFC 7519) and client certificates.
//
// An [Authenticator] returns an [Identity] for a credential, or a [Refusal]. Its
// [Store] holds the content of the credential files, reads the files again when
// they change, and reports which credentials were revoked, so that the server
// can end their sessions.
//
// # Why a map of token hashes is safe
//
// The gateway hashes a presented token with SHA-256 and looks the hash up in a
// map. How long the look-up takes may depend on the hash. An attacker cannot
// choose a hash, only try tokens until one has the hash: learning n bits of a
// stored hash from the time costs 2^n attempts over the network. And a hash
// that is known in full still has to be inverted, which for a token of
// [NewToken] means guessing 256 random bits. This argument needs random tokens.
// A token that a person made up can also be guessed online, whatever the
// comparison; the minimum length of 16 characters is the only defence.
//
// # Rules
//
//   - What is not granted is not allowed. A hashed line or a JWT without
//     permissions lets a front end observe and not command. The one exception
//     is a token in clear, which grants everything in its role.
//   - No error and no Source contains a token, a key, or anything else from a
//     file or a peer that might be a secret.
//   - A presented token decides. The certificate of a peer that presents a
//     token is ignored, whether the token is valid or not.
//   - A file that cannot be used changes nothing. At the start it is an error.
//     Later the content that was read before stays in force.
package access
