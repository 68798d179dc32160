package access

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

func TestNewToken(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token := NewToken()
		if len(token) != 43 || checkToken(token) != nil || seen[token] {
			t.Fatalf("token of %d characters, seen %v: %v", len(token), seen[token], checkToken(token))
		}
		seen[token] = true
	}
}

func TestParseTokens(t *testing.T) {
	hash := hashLine(t, tokenA, "")
	for _, c := range []struct {
		name, file string
		role       Role
		want       Grant
	}{
		{"clear, device", tokenA, RoleDevice, Grant{Role: RoleDevice}},
		{"clear, front end", tokenA, RoleFrontend, Grant{Role: RoleFrontend, Permissions: everything()}},
		{"hash alone, device", hash, RoleDevice, Grant{Role: RoleDevice}},
		{"hash alone, front end", hash, RoleFrontend, Grant{Role: RoleFrontend, Permissions: Permissions{Observe: true, Devices: []Pattern{"*"}}}},
		{"upper case", strings.ToUpper(hash[7:]), 0, Grant{}},
		{"device", hash + " role=device name=tensile-1 label=left", 0, Grant{Role: RoleDevice, Name: "tensile-1", Label: "left"}},
		{"role stated again", hash + " role=device name=tensile-1", RoleDevice, Grant{Role: RoleDevice, Name: "tensile-1"}},
		{"front end", hash + " role=frontend user=ada permissions=observe,command devices=tensile-*,press-1", 0,
			Grant{Role: RoleFrontend, Name: "ada", Permissions: Permissions{true, true, []Pattern{"tensile-*", "press-1"}}}},
		{"command alone", hash + " role=frontend permissions=command", 0, Grant{Role: RoleFrontend, Permissions: Permissions{Command: true, Devices: []Pattern{"*"}}}},
		{"tabs and spaces", "\t " + hash + "\t role=device  name=a\r\n", 0, Grant{Role: RoleDevice, Name: "a"}},
		{"comments", "# a\n\n   # b\n" + hash + " role=device\n#", 0, Grant{Role: RoleDevice}},
		{"byte order mark", "\uFEFF" + hash + " role=device\r\n", 0, Grant{Role: RoleDevice}},
		{"twice the same", tokenA + "\n" + hash + " label=x\n", RoleDevice, Grant{Role: RoleDevice}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "upper case" {
				c.file, c.role, c.want = "sha256:"+c.file, RoleDevice, Grant{Role: RoleDevice}
			}
			all, err := parseTokens([]byte(c.file+"\n"), c.role)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != 1 || all[0].hash != sha256.Sum256([]byte(tokenA)) || !reflect.DeepEqual(all[0].grant, c.want) {
				t.Errorf("%+v, want %+v", all, c.want)
			}
		})
	}
	if all, err := parseTokens([]byte(" \n# nobody\n"), RoleDevice); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestParseTokensRefuses(t *testing.T) {
	hash := hashLine(t, tokenA, "")
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%016d\n", i)
		}
		return b.String()
	}
	for _, c := range []struct {
		name, file string
		role       Role
		says       string
	}{
		{"short", "Qm9iLWhhcyAxM", RoleDevice, "line 1: a token of 13 characters, 16 to 512"},
		{"long", strings.Repeat("x", 513), RoleDevice, "line 1: a token of 513"},
		{"character", "\n" + tokenB + "=", RoleDevice, "line 2: character 27"},
		{"not ASCII", tokenB + "\u00e9", RoleDevice, "line 1: character 27"},
		{"zero byte", tokenB + "\x00", RoleDevice, "line 1: character 27"},
		{"clear in a file of both", tokenB, 0, "--hash"},
		{"clear with attributes", tokenB + " role=device", RoleDevice, "--hash"},
		{"two tokens", tokenA + " " + tokenB, RoleDevice, "line 1: 2 words; a line must be one token of 16 to 512 characters"},
		{"sentence", "# tokens\nhello world token\n", RoleDevice, "line 2: 3 words; a line must be one token of 16 to 512 characters and nothing else, or sha256:HEX and attributes"},
		{"sentence in a file of both", "hello world token\n", 0, "line 1: a token in clear is not allowed in a file of both roles; a line must be sha256:HEX role=ROLE"},
		{"header", "Authorization: Bearer " + tokenB, RoleDevice, "line 1: 3 words"},
		{"hash in upper case", strings.ToUpper(hash), RoleDevice, "line 1: write sha256: in lower case"},
		{"hash of nothing", hashPrefix + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n", RoleDevice, "line 1: the hash is that of an empty token"},
		{"hash of an empty line", hashPrefix + "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b\n", RoleDevice, "line 1: the hash is that of an empty token"},
		{"half a hash", hash[:40], RoleDevice, "64 hexadecimal digits"},
		{"token for a hash", "sha256:" + tokenB, RoleDevice, "64 hexadecimal digits"},
		{"hash and more", hash + "00", RoleDevice, "64 hexadecimal digits"},
		{"wide line", hash + strings.Repeat(" ", 20000) + "label=x", RoleDevice, "line 1: 20078 bytes"},
		{"unknown attribute", hash + " role=device " + tokenB + "=x", 0, "attribute 2 is unknown"},
		{"word", hash + " " + tokenB, RoleDevice, "attribute 1 is unknown"},
		{"comment behind", hash + " # left", RoleDevice, "line of its own"},
		{"empty value", hash + " label=", RoleDevice, "label has no value"},
		{"no value", hash + " label", RoleDevice, "label has no value"},
		{"twice", hash + " name=a name=b", RoleDevice, "name is there twice"},
		{"no role", hash + " name=a", 0, "role is missing"},
		{"other role", hash + " role=frontend", RoleDevice, "move the line"},
		{"role", hash + " role=" + tokenB, 0, "use device or frontend"},
		{"role in upper case", hash + " role=Device", 0, "use device or frontend"},
		{"name", hash + " name=" + tokenB + "~", RoleDevice, "name: use 1 to 128"},
		{"user", hash + " user=-" + tokenB, RoleFrontend, "user: use 1 to 128"},
		{"user of a device", hash + " user=a", RoleDevice, "user is not for the role device"},
		{"permissions of a device", hash + " permissions=observe", RoleDevice, "permissions is not for"},
		{"devices of a device", hash + " devices=*", RoleDevice, "devices is not for"},
		{"name of a front end", hash + " name=a", RoleFrontend, "name is not for the role frontend"},
		{"permission", hash + " permissions=observe," + tokenB, RoleFrontend, "permissions: number 2 is unknown"},
		{"empty permission", hash + " permissions=,", RoleFrontend, "permissions: number 1"},
		{"pattern", hash + " devices=a,b/" + tokenB, RoleFrontend, "devices: number 2: character 2"},
		{"empty pattern", hash + " devices=a,", RoleFrontend, "devices: number 2"},
		{"patterns", hash + " devices=" + strings.Repeat("a,", maxPatterns) + "a", RoleFrontend, "65 patterns, at most 64"},
		{"label", hash + " label=" + tokenB + "/", RoleDevice, "label: character 27"},
		{"long label", hash + " label=" + strings.Repeat("x", 65), RoleDevice, "label: 65 characters"},
		{"contradiction", tokenA + "\n" + hash + " name=a\n", RoleDevice, "line 2: the token of line 1 again"},
		{"lines", many(maxTokenLines + 1), RoleDevice, "line 50001: more than 50000 tokens"},
		{"UTF-16", "\xff\xfeQ\x00m\x009\x00i\x00L\x00W\x00h\x00", RoleDevice, "is text in UTF-16"},
		{"UTF-16 without a mark", wide(tokenB+"\r\n", 2, 0), RoleDevice, "is text in UTF-16"},
		{"mark of a joined file", tokenA + "\n\uFEFF" + tokenB + "\n", RoleDevice, "line 2: begins with a byte-order mark"},
		{"carriage returns alone", tokenA + "\r" + tokenB + "\r", RoleDevice, "line 1: has a carriage return in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseTokens([]byte(c.file), c.role)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %q in it", err, c.says)
			}
			mustHide(t, shown(err), strings.TrimPrefix(hash, hashPrefix))
		})
	}
}

// TestCutOffTokenFile cuts a file after each byte, as a full disk does. A token
// is never in force with another grant than its line has, and no hashed token
// is there before its line is complete.
func TestCutOffTokenFile(t *testing.T) {
	whole := hashLine(t, tokenA, "role=device name=tensile-1 label=left") + "\n" +
		hashLine(t, tokenB, "role=frontend user=ada permissions=observe devices=tensile-*,press-1") + "\r\n"
	want, err := parseTokens([]byte(whole), 0)
	if err != nil || len(want) != 2 {
		t.Fatalf("%d tokens, %v", len(want), err)
	}
	first := strings.Index(whole, "\n") + 1
	for i := 1; i < len(whole); i++ {
		got, err := parseTokens([]byte(whole[:i]), 0)
		complete := i == first
		if complete != (err == nil) {
			t.Errorf("%d of %d bytes: %v", i, len(whole), err)
		}
		if complete && !reflect.DeepEqual(got, want[:1]) {
			t.Errorf("%d of %d bytes: %+v", i, len(whole), got)
		}
	}
}

func TestHashLine(t *testing.T) {
	for _, g := range []Grant{
		{Role: RoleDevice},
		{Role: RoleDevice, Name: "tensile-1", Label: "left@hall+2"},
		{Role: RoleFrontend, Permissions: everything()},
		{Role: RoleFrontend, Name: "ada", Permissions: Permissions{Observe: true, Devices: []Pattern{"a*", "b"}}},
	} {
		line, err := HashLine(tokenA, g)
		if err != nil {
			t.Fatal(err)
		}
		mustHide(t, line)
		all, err := parseTokens([]byte(line+"\n"), 0)
		if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0].grant, g) || all[0].hash != sha256.Sum256([]byte(tokenA)) {
			t.Errorf("%q is read as %+v, %v", line, all, err)
		}
	}
	for says, c := range map[string]struct {
		token string
		grant Grant
	}{
		"a token of 4":            {tokenA[:4], Grant{Role: RoleDevice}},
		"character 24":            {tokenA + "!", Grant{Role: RoleDevice}},
		"role:":                   {tokenA, Grant{}},
		"name:":                   {tokenA, Grant{Role: RoleDevice, Name: tokenB + "~"}},
		"user:":                   {tokenA, Grant{Role: RoleFrontend, Name: "a b", Permissions: everything()}},
		"label:":                  {tokenA, Grant{Role: RoleDevice, Label: "a\nb"}},
		"for front ends":          {tokenA, Grant{Role: RoleDevice, Permissions: everything()}},
		"permissions: none":       {tokenA, Grant{Role: RoleFrontend}},
		"devices: 0 patterns":     {tokenA, Grant{Role: RoleFrontend, Permissions: Permissions{Observe: true}}},
		"devices: character 2 of": {tokenA, Grant{Role: RoleFrontend, Permissions: Permissions{Observe: true, Devices: []Pattern{"a b"}}}},
	} {
		_, err := HashLine(c.token, c.grant)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q in it", err, says)
			continue
		}
		mustHide(t, err.Error())
	}
}

// FuzzParseTokens: credentials are within the limits, a line that is written
// from one is read as the same, and no error quotes the file.
func FuzzParseTokens(f *testing.F) {
	hash := hashPrefix + strings.Repeat("ab", 32)
	for _, seed := range []string{
		tokenA, "# c\n" + tokenA + "\r\n" + tokenB, hash, hash + "\n", hash + " role=device name=a label=b\n",
		hash + " role=frontend user=u permissions=observe,command devices=a*,*\n", "\uFEFF" + hash + " role=frontend\n",
		hash + " role=device\n" + hash + " role=frontend\n" + hash + " role=device name=x\n",
	} {
		for role := range uint8(3) {
			f.Add([]byte(seed), role)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, role uint8) {
		all, err := parseTokens(data, Role(role%3))
		if err != nil {
			mustNotQuote(t, err.Error(), string(data))
			return
		}
		for _, c := range all {
			g := c.grant
			if g.Role == 0 || role%3 != 0 && g.Role != Role(role%3) || g.Name != "" && !protocol.ValidName(g.Name) || len(g.Devices) > maxPatterns || len(g.Label) > maxLabelLen {
				t.Fatalf("%+v", g)
			}
			if g.Role == RoleDevice && (g.Observe || g.Command || g.Devices != nil) || g.Role == RoleFrontend && !g.Observe && !g.Command {
				t.Fatalf("%+v", g)
			}
			line := fmt.Sprintf("%s%x%s", hashPrefix, c.hash, g.attributes())
			again, err := parseTokens([]byte(line+"\n"), 0)
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0].grant, g) || again[0].hash != c.hash {
				t.Fatalf("%q is read as %+v, %v; want %+v", line, again, err, g)
			}
		}
	})
}

// mustNotQuote fails if the text contains a word of the data that is long enough
// for a secret. The words of the errors themselves are short.
func mustNotQuote(t *testing.T, text, data string) {
	t.Helper()
	for _, word := range strings.FieldsFunc(data, func(c rune) bool { return !tokenByte(byte(c)) || c > 0x7f }) {
		if len(word) >= MinTokenLen && strings.Contains(text, word) {
			t.Fatalf("%q is in %q", word, text)
		}
	}
}
