package access

import (
	"fmt"
	"strings"
	"testing"
)

// keyNames lists keys by id and algorithm.
func keyNames(keys []key) string {
	var names []string
	for i := range keys {
		names = append(names, keys[i].id+":"+keys[i].method().Alg())
	}
	return strings.Join(names, " ")
}

func TestParseJWKS(t *testing.T) {
	rs, ed, secret := jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic()), jwkSecret("s", testSecret)
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"all three":         {jwks(rs, ed, secret), "r:RS256 e:EdDSA s:HS256"},
		"stated":            {jwks(with(rs, "alg", "RS256", "use", "sig", "key_ops", []string{"sign", "verify"})), "r:RS256"},
		"without kid":       {jwks(with(rs, "kid", nil)), ":RS256"},
		"byte-order mark":   {"\uFEFF" + jwks(ed), "e:EdDSA"},
		"one kid, two keys": {jwks(rs, with(ed, "kid", "r")), "r:RS256 r:EdDSA"},
		"other members":     {jwks(with(rs, "K", 1, "KTY", "oct", "x5c", []string{"a"}, "nbf", 0)), "r:RS256"},
		"none":              {jwks(), ""},
	} {
		keys, ignored, err := parseJWKS([]byte(c.file))
		if got := keyNames(keys); got != c.want || err != nil || ignored.count != 0 || ignored.String() != "" {
			t.Errorf("%s: %q, %q, %v; want %q", name, got, &ignored, err, c.want)
		}
	}
}

// TestForeignKeysAreIgnored puts each unusable key between two usable keys. The
// usable keys work, and the report says which key is ignored and why. A file
// with the unusable key alone is an error with the same reason.
func TestForeignKeysAreIgnored(t *testing.T) {
	rs, ed, secret := jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic()), jwkSecret("s", testSecret)
	pem := b64([]byte(pemPublic(t, theRSA().Public())))
	for name, c := range map[string]struct {
		foreign any // members, or JSON
		says    string
	}{
		// What the key is for.
		"EC":                      {members{"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}, "kty is none of RSA, OKP and oct"},
		"new type, numbers":       {members{"kty": "AKP", "alg": "ML-DSA-44", "pub": 1, "k": 2, "n": 3, "x": []int{4}}, "kty is none of"},
		"type in another case":    {with(rs, "kty", "rsa", "kid", "x"), "kty is none of"},
		"no type":                 {with(rs, "kty", nil, "kid", "x"), "kty is none of"},
		"type a number":           {with(rs, "kty", 1, "kid", "x"), "kty is none of"},
		"encryption":              {with(rs, "use", "enc", "kid", "x"), "use is not sig"},
		"encryption, broken":      {members{"kty": "RSA", "use": "enc", "n": "!", "e": 65537}, "use is not sig"},
		"use a list":              {with(rs, "use", []string{"sig"}, "kid", "x"), "use is not sig"},
		"signs only":              {with(rs, "key_ops", []string{"sign"}, "kid", "x"), "key_ops lacks verify"},
		"operations a string":     {with(rs, "key_ops", "verify", "kid", "x"), "key_ops lacks verify"},
		"other RSA algorithm":     {with(rs, "alg", "RS512", "kid", "x"), "alg is not RS256, the only algorithm for kty RSA"},
		"other algorithm, broken": {members{"kty": "oct", "alg": "HS512", "k": []int{1}}, "alg is not HS256"},
		"algorithm of another":    {with(ed, "alg", "HS256", "kid", "x"), "alg is not EdDSA"},
		"X25519":                  {members{"kty": "OKP", "crv": "X25519", "x": "a"}, "crv is not Ed25519"},
		"no curve":                {with(ed, "crv", nil, "kid", "x"), "crv is not Ed25519"},

		// Missing and out of range (RFC 7517 section 5).
		"short secret":       {jwkSecret("x", testSecret[:31]), "k is not 32"},
		"long secret":        {jwkSecret("x", strings.Repeat(testSecret, 200)), "k is not 32 to 4096 bytes"},
		"padded secret":      {with(secret, "k", b64([]byte(testSecret))+"=", "kid", "x"), "k is not"},
		"secret a list":      {with(secret, "k", []string{testSecret}, "kid", "x"), "k is not"},
		"secret a PEM file":  {with(secret, "k", pem, "kid", "x"), "k is a public key"},
		"short x":            {with(ed, "x", b64([]byte(testSecret[:31])), "kid", "x"), "x is not 32 bytes"},
		"no n":               {with(rs, "n", nil, "kid", "x"), "0 bits"},
		"small n":            {with(rs, "n", b64(theRSA().N.Bytes()[:128]), "kid", "x"), "bits, 2048"},
		"large n":            {with(rs, "n", b64([]byte(strings.Repeat("n", 2000))), "kid", "x"), "bits, 2048"},
		"no e":               {with(rs, "e", nil, "kid", "x"), "n and e are not"},
		"e a number":         {with(rs, "e", 65537, "kid", "x"), "n and e are not"},
		"large e":            {with(rs, "e", b64([]byte{0x80, 0, 0, 1}), "kid", "x"), "n and e are not"},
		"e of 1":             {with(rs, "e", "AQ", "kid", "x"), "exponent"},
		"private RSA":        {with(rs, "d", b64([]byte(testSecret)), "kid", "x"), "private key"},
		"private OKP":        {with(ed, "d", b64([]byte(testSecret)), "kid", "x"), "private key"},
		"long kid":           {with(rs, "kid", strings.Repeat("k", 129)), "kid has 129 bytes"},
		"kid a number":       {with(rs, "kid", 7), "kid must be a string"},
		"type twice":         {`{"kty":"oct","kty":"RSA","k":"` + b64([]byte(testSecret)) + `"}`, "two members have the same name"},
		"null":               {`null`, "not a JSON object"},
		"a string":           {`"` + testSecret + `"`, "not a JSON object"},
		"a list":             {`[{"kty":"oct"}]`, "not a JSON object"},
		"thousands of names": {"{" + manyMembers(3000) + `"kty":"RSA"}`, "more than 128 members"},
	} {
		foreign, isText := c.foreign.(string)
		if !isText {
			foreign = strings.TrimSuffix(strings.TrimPrefix(jwks(c.foreign.(members)), `{"keys":[`), `]}`)
		}
		file := strings.Replace(jwks(rs, members{"here": 1}, ed), `{"here":1}`, foreign, 1)
		keys, ignored, err := parseJWKS([]byte(file))
		if got := keyNames(keys); got != "r:RS256 e:EdDSA" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if ignored.count != 1 || !strings.HasPrefix(ignored.String(), "key 2: ") || !strings.Contains(ignored.String(), c.says) {
			t.Errorf("%s: %d ignored: %q, want %q", name, ignored.count, &ignored, c.says)
		}
		mustHide(t, ignored.String(), b64([]byte(testSecret)), pem)
		_, _, err = parseJWKS([]byte(`{"keys":[` + foreign + `]}`))
		if err == nil || !strings.HasPrefix(err.Error(), "none of its keys can check HS256, EdDSA or RS256 signatures; add one (key 1: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, alone: %v, want %q", name, err, c.says)
			continue
		}
		mustHide(t, err.Error(), b64([]byte(testSecret)), pem)
	}
}

// TestSameKidTwice: of two keys with one kid and algorithm the first is used.
func TestSameKidTwice(t *testing.T) {
	keys, ignored, err := parseJWKS([]byte(jwks(jwkRSA("r", &theRSA().PublicKey), jwkRSA("r", &otherRSA().PublicKey))))
	if err != nil || len(keys) != 1 || string(keys[0].bytes()) != string((&key{material: &theRSA().PublicKey}).bytes()) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if got := ignored.String(); got != "key 2: kid and algorithm are those of an earlier key" {
		t.Errorf("%q", got)
	}
}

func TestIgnoredKeysAreSummed(t *testing.T) {
	all := []members{jwkEd25519("e", edPublic())}
	for i := range 500 {
		all = append(all, members{"kty": "EC"}, members{"kty": "RSA", "use": "enc"}, members{"kty": "oct", "kid": strings.Repeat("k", 200+i)})
	}
	_, ignored, err := parseJWKS([]byte(jwks(all...)))
	text := ignored.String()
	if err != nil || ignored.count != 1500 || len(text) > 2000 {
		t.Errorf("%d ignored, %d bytes, %v", ignored.count, len(text), err)
	}
	for _, want := range []string{"keys 2, 5, 8, 11, 14, 17, 20, 23 and 492 more: kty is none of RSA, OKP and oct; keys 3, 6,", "; and 494 more reasons"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	secret := jwkSecret("s", testSecret)
	var many, nameless []members
	for i := range maxKeys + 1 {
		many = append(many, jwkSecret(fmt.Sprint("k", i), testSecret))
		nameless = append(nameless, with(secret, "kid", nil))
	}
	for name, c := range map[string]struct{ file, says string }{
		"text":         {testSecret, "is not a JWKS: line 1 is not JSON"},
		"cut off":      {strings.ReplaceAll(jwks(secret, secret), ",", ",\n")[:120], "is not a JWKS: line 4 is not JSON"},
		"a key":        {`{"kty":"oct","k":"` + b64([]byte(testSecret)) + `"}`, "is not a JWKS; the file must hold"},
		"a string":     {`{"keys":"` + testSecret + `"}`, "is not a JWKS"},
		"null":         {`{"keys":null}`, "is not a JWKS"},
		"other case":   {strings.Replace(jwks(secret), "keys", "Keys", 1), "is not a JWKS"},
		"keys twice":   {`{"keys":[],"keys":[]}`, "is not a JWKS"},
		"UTF-16":       {wide(jwks(secret), 2, 0), "is text in UTF-16"},
		"UTF-16, mark": {"\xfe\xff" + wide(jwks(secret), 2, 1), "is text in UTF-16"},
		"many":         {jwks(many...), "65 keys"},
		"many unnamed": {jwks(nameless[:5]...), "5 of them without a kid"},
	} {
		_, _, err := parseJWKS([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
			continue
		}
		mustHide(t, err.Error(), b64([]byte(testSecret)))
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(jwks(jwkSecret("s", testSecret))))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseJWKS(data)
		if err != nil {
			mustNotQuote(t, err.Error(), string(data))
			return
		}
		for i := range keys {
			if len(keys[i].id) > maxKeyID || len(keys[i].bytes()) == 0 {
				t.Fatalf("%+v", keys[i].id)
			}
		}
	})
}
