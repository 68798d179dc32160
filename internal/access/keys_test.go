package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
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
		"mark":        {"\uFEFF" + ed, "EdDSA"},
		"two marks":   {"\uFEFF" + ed + "\uFEFF" + rs, "EdDSA RS256"},
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
		"UTF-16":       {wide(ed, 2, 0), "is text in UTF-16"},
		"UTF-16 mark":  {"\xff\xfe" + wide(ed, 2, 0), "is text in UTF-16"},
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
