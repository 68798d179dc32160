package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParsePEMKeys(t *testing.T) {
	ed, rs := pemPublic(t, theEd25519().Public()), pemPublic(t, theRSA().Public())
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&theRSA().PublicKey)}))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, theEd25519().Public(), theEd25519())
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for name, c := range map[string]struct{ file, algs string }{
		"Ed25519":     {ed, "EdDSA"},
		"RSA":         {rs, "RS256"},
		"PKCS #1":     {pkcs1, "RS256"},
		"certificate": {cert, "EdDSA"},
		"two":         {"old\n" + ed + "\nnew\n" + rs, "EdDSA RS256"},
		"CRLF":        {strings.ReplaceAll(ed, "\n", "\r\n"), "EdDSA"},
		"empty":       {" \n", ""},
	} {
		keys, err := parsePEMKeys([]byte(c.file))
		var algs []string
		for i := range keys {
			algs = append(algs, keys[i].method().Alg())
		}
		if got := strings.Join(algs, " "); err != nil || got != c.algs {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.algs)
		}
	}
}

func TestParsePEMKeysRefuses(t *testing.T) {
	ed := pemPublic(t, theEd25519().Public())
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(theEd25519())
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	large := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 9000), E: 65537}
	even := &rsa.PublicKey{N: theRSA().N, E: 65536}
	for name, c := range map[string]struct{ file, says string }{
		"text":         {testSecret, "holds no PEM block"},
		"private":      {block("PRIVATE KEY", private), "private key"},
		"both":         {ed + block("PRIVATE KEY", private), "block 2: a private key"},
		"EC":           {pemPublic(t, ec.Public()), "neither RSA nor Ed25519"},
		"small RSA":    {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(small)), "1024 bits"},
		"large RSA":    {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(large)), "bits, 2048 to 8192"},
		"even":         {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(even)), "exponent"},
		"garbage":      {block("PUBLIC KEY", []byte(testSecret)), "block 1: cannot be read"},
		"kind":         {block(testSecret, nil), "neither a PUBLIC KEY"},
		"cut off":      {ed + ed[:60], "2 PEM blocks begin, 1 can be read"},
		"damaged":      {strings.Replace(ed, "MC", "!!", 1), "1 PEM blocks begin, 0 can be read"},
		"too many":     {strings.Repeat(ed, maxUnnamedKeys+1), "5 keys, at most 4"},
		"wrong format": {jwks(jwkSecret("a", testSecret)), "holds no PEM block"},
	} {
		_, err := parsePEMKeys([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
			continue
		}
		mustHide(t, err.Error(), b64(private))
	}
}

func TestParseSecret(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"bare":        {testSecret, testSecret},
		"line break":  {testSecret + "\n", testSecret},
		"CRLF":        {testSecret + "\r\n", testSecret},
		"two breaks":  {testSecret + "\n\n", testSecret + "\n"},
		"lone return": {testSecret + "\r", testSecret + "\r"},
		"binary":      {strings.Repeat("\x00\xff", 16), strings.Repeat("\x00\xff", 16)},
	} {
		keys, err := parseSecret([]byte(c.file))
		if err != nil || len(keys) != 1 || string(keys[0].material.([]byte)) != c.want || keys[0].method().Alg() != "HS256" {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	for name, c := range map[string]struct{ file, says string }{
		"short":      {testSecret[:31] + "\n", "a secret of 31 bytes, 32 to 4096"},
		"long":       {strings.Repeat(testSecret, 200), "a secret of 6400 bytes"},
		"public key": {pemPublic(t, theRSA().Public()), "--jwt-key-file"},
	} {
		_, err := parseSecret([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
			continue
		}
		mustHide(t, err.Error())
	}
}

func TestParseJWKS(t *testing.T) {
	rs, ed, secret := jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic()), jwkSecret("s", testSecret)
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"all three":       {jwks(rs, ed, secret), "r:RS256 e:EdDSA s:HS256"},
		"stated":          {jwks(with(rs, "alg", "RS256", "use", "sig", "key_ops", []string{"verify"})), "r:RS256"},
		"without kid":     {jwks(with(rs, "kid", nil)), ":RS256"},
		"other use":       {jwks(with(rs, "use", "enc"), ed), "e:EdDSA"},
		"other operation": {jwks(with(rs, "key_ops", []string{"sign"}), ed), "e:EdDSA"},
		"other algorithm": {jwks(with(rs, "alg", "RS512"), with(ed, "alg", "HS256"), secret), "s:HS256"},
		"other type":      {jwks(members{"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}, members{"kty": "OKP", "crv": "X25519", "x": "a"}, ed), "e:EdDSA"},
		"none":            {jwks(), ""},
	} {
		keys, err := parseJWKS([]byte(c.file))
		var got []string
		for i := range keys {
			got = append(got, keys[i].id+":"+keys[i].method().Alg())
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	var many, nameless []members
	for i := range maxKeys + 1 {
		many = append(many, jwkSecret(fmt.Sprint("k", i), testSecret))
		nameless = append(nameless, with(secret, "kid", nil))
	}
	for name, c := range map[string]struct{ file, says string }{
		"text":         {testSecret, "is not a JWKS"},
		"a key":        {`{"kty":"oct","k":"` + b64([]byte(testSecret)) + `"}`, "is not a JWKS"},
		"a string":     {`{"keys":"` + testSecret + `"}`, "is not a JWKS"},
		"wrong member": {`{"keys":[{"kty":"oct","k":["` + testSecret + `"]}]}`, "is not a JWKS"},
		"none usable":  {jwks(with(rs, "use", "enc")), "none of its keys"},
		"private RSA":  {jwks(with(rs, "d", b64([]byte(testSecret)))), "key 1: a private key"},
		"private OKP":  {jwks(rs, with(ed, "d", b64([]byte(testSecret)))), "key 2: a private key"},
		"short secret": {jwks(jwkSecret("s", testSecret[:31])), "k: must be 32"},
		"padded":       {jwks(with(secret, "k", b64([]byte(testSecret))+"=")), "k: must be 32"},
		"short x":      {jwks(with(ed, "x", b64([]byte(testSecret[:31])))), "x: must be 32 bytes"},
		"no n":         {jwks(with(rs, "n", nil)), "0 bits"},
		"small n":      {jwks(with(rs, "n", b64(theRSA().N.Bytes()[:128]))), "bits, 2048"},
		"no e":         {jwks(with(rs, "e", nil)), "n, e:"},
		"large e":      {jwks(with(rs, "e", b64([]byte{0x80, 0, 0, 1}))), "n, e:"},
		"e of 1":       {jwks(with(rs, "e", "AQ")), "exponent"},
		"kid twice":    {jwks(rs, with(ed, "kid", "r")), "key 2: its kid"},
		"long kid":     {jwks(with(rs, "kid", strings.Repeat("k", 129))), "kid: 129 bytes"},
		"many":         {jwks(many...), "65 keys"},
		"many unnamed": {jwks(nameless[:5]...), "5 of them without a kid"},
	} {
		_, err := parseJWKS([]byte(c.file))
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
		keys, err := parseJWKS(data)
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
