package access

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
)

// wide encodes ASCII text with size bytes for each character. The byte at
// position holds the character, the others are zero.
func wide(text string, size, position int) string {
	b := make([]byte, size*len(text))
	for i := range len(text) {
		b[size*i+position] = text[i]
	}
	return string(b)
}

func TestParseSecret(t *testing.T) {
	binary := string(theRSA().N.Bytes()[:64]) + "\xff"
	for name, c := range map[string]struct{ file, want string }{
		"bare":             {testSecret, testSecret},
		"line break":       {testSecret + "\n", testSecret},
		"CRLF":             {testSecret + "\r\n", testSecret},
		"words":            {"correct horse battery staple, and more\n", "correct horse battery staple, and more"},
		"not ASCII":        {"päss-" + testSecret, "päss-" + testSecret},
		"binary":           {binary, binary},
		"binary with CR":   {binary + "\r", binary + "\r"},
		"binary by chance": {"\xff\xfe" + binary, "\xff\xfe" + binary},
		"zero and ones":    {strings.Repeat("\x00\xff", 16), strings.Repeat("\x00\xff", 16)},
	} {
		keys, err := parseSecret([]byte(c.file))
		if err != nil || len(keys) != 1 || string(keys[0].material.([]byte)) != c.want || keys[0].method().Alg() != "HS256" {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

// TestParseSecretRefuses covers files whose bytes differ from the issuer's
// secret, and files that are public.
func TestParseSecretRefuses(t *testing.T) {
	pkix, err := x509.MarshalPKIXPublicKey(theRSA().Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, says string }{
		"short":                {testSecret[:31] + "\n", "a secret of 31 bytes, 32 to 4096"},
		"long":                 {strings.Repeat(testSecret, 200), "a secret of 6400 bytes"},
		"two breaks":           {testSecret + "\n\n", "white space"},
		"two breaks, CRLF":     {testSecret + "\r\n\r\n", "white space"},
		"carriage return":      {testSecret + "\r", "white space"},
		"space ahead":          {" " + testSecret + "\n", "white space"},
		"tab behind":           {testSecret + "\t\n", "white space"},
		"no-break space":       {testSecret + "\u00a0", "white space"},
		"two lines":            {testSecret + "\n" + testSecret + "\n", "more than one line"},
		"mark":                 {"\uFEFF" + testSecret, "begins with a byte-order mark"},
		"UTF-16 LE":            {wide(testSecret, 2, 0), "UTF-16"},
		"UTF-16 BE":            {wide(testSecret, 2, 1), "UTF-16"},
		"UTF-16 LE, mark":      {"\xff\xfe" + wide(testSecret, 2, 0), "UTF-16"},
		"UTF-16 BE, mark":      {"\xfe\xff" + wide(testSecret, 2, 1), "UTF-16"},
		"UTF-32 LE":            {wide(testSecret, 4, 0), "UTF-32"},
		"UTF-32 BE, mark":      {"\x00\x00\xfe\xff" + wide(testSecret, 4, 3), "UTF-32"},
		"binary with a break":  {strings.Repeat("\x01\xfe", 16) + "\n", "is binary and ends with a line break"},
		"public key":           {pemPublic(t, theRSA().Public()), "--jwt-key-file"},
		"public key in DER":    {string(pkix), "DER"},
		"PKCS #1":              {string(x509.MarshalPKCS1PublicKey(&theRSA().PublicKey)), "DER"},
		"certificate in DER":   {string(theAuthority().cert.Raw), "DER"},
		"public key of SSH":    {"ssh-ed25519 " + b64(edPublic()) + " ada@lab\n", "SSH"},
		"JWKS":                 {jwks(jwkEd25519("e", edPublic())), "--jwks-file"},
		"JWK":                  {fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s"}`, b64(edPublic())), "--jwks-file"},
		"zero byte and breaks": {"\x00" + testSecret + "\r\n", "is binary and ends with a line break"},
	} {
		keys, err := parseSecret([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d keys, %v, want %q in it", name, len(keys), err, c.says)
			continue
		}
		mustHide(t, err.Error())
	}
}
