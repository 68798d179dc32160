// Package access decides who gets in and what they may do there: tokens from
// files, JWTs (RFC 7519), client certificates.
//
// An [Authenticator] turns what a peer presents into an [Identity] or a
// [Refusal]. The [Store] beneath it holds what was read from the files, reads
// them again when they change, and says which credentials are gone so that
// their sessions can be ended.
//
// # Why a look-up by hash is safe
//
// A presented token is hashed with SHA-256 and the hash looked up in a map. The
// map's comparison may take a time that depends on the hash, but nobody can
// steer a hash without trying: to learn n bits of a stored hash by timing costs
// 2^n guesses through the network. And a hash learnt in full would still have
// to be inverted, which for a token of [NewToken] means guessing 256 random
// bits. The argument rests on the token being random. A token that a human made
// up can be guessed online as well, whatever the comparison; against that
// stands only the minimum of 16 characters.
//
// # Rules that hold throughout
//
//   - What is not granted is not allowed. A hashed line or a JWT of a front end
//     that names no permissions may observe and not command. The one exception
//     is a token written in clear: it opens its whole role, as it always did.
//   - No error and no Source holds a token, a key, or anything else that was
//     read from a file or presented by a peer and might be one.
//   - A presented token decides. A certificate is looked at only where no token
//     is presented, and never rescues a wrong one.
package access
