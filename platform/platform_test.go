package platform

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestIdentity(t *testing.T) {
	assert.Equal(t, "fpmansl7byak6gq7", Identity("alice"), "the format is stored in labels: it never changes")
	alike := []string{
		"alice@example.com", "alice-example-com", "Alice@Example.com", "alice.example.com", "alice@example.com ",
		"аlice@example.com", "Amélie", "Ame\u0301lie", "",
	}
	seen := map[string]string{}
	for _, user := range alike {
		id := Identity(user)
		assert.Regexp(t, `^[a-z2-7]{16}$`, id)
		assert.Empty(t, seen[id], "%q and %q", user, seen[id])
		seen[id] = user
	}
}

// TestIdentitiesOfAMillionUsers: none collide; and 80 bits keep anybody from
// finding one that collides with a victim's.
func TestIdentitiesOfAMillionUsers(t *testing.T) {
	assert.GreaterOrEqual(t, hashLength*5, 80)
	seen := make(map[string]bool, 1_000_000)
	for i := range 1_000_000 {
		seen[Identity("user"+strconv.Itoa(i)+"@example.com")] = true
	}
	assert.Len(t, seen, 1_000_000)
}

func TestTemplateLabel(t *testing.T) {
	assert.Equal(t, "ubuntu-24.04", TemplateLabel("ubuntu-24.04"))
	long := strings.Repeat("x", 64)
	assert.Regexp(t, `^[a-z2-7]{16}$`, TemplateLabel(long))
	assert.NotEqual(t, TemplateLabel(long), TemplateLabel(long+"x"))
}

func TestIsGroup(t *testing.T) {
	for _, group := range []string{"a", "/artists", "CN=Künstler,OU=a b", " a ", "日本", strings.Repeat("é", 256), "my system:a"} {
		assert.True(t, IsGroup(group), group)
	}
	for _, text := range []string{"", "a\nb", "a\u202eb", "\xff", strings.Repeat("a", 257), "system:masters", "system:"} {
		assert.False(t, IsGroup(text), text)
	}
}

func TestValidateUser(t *testing.T) {
	for _, user := range []string{"a", "alice@example.com", "Ann Other", "Amélie", "李雷", "o'neil`|)", strings.Repeat("é", 256)} {
		assert.NoError(t, ValidateUser(user), user)
	}
	for user, why := range map[string]string{
		"":             "empty",
		" a":           "blank",
		"a\u00a0":      "blank",
		"a\nb":         "printed",
		"a\x00":        "printed",
		"a\u202eb":     "printed",
		"a\u200bb":     "printed",
		"Ame\u0301lie": "normal form",
		"\u2126":       "normal form",
		"\xff":         "UTF-8",
		strings.Repeat("a", MaxUserLength) + "bc": "longer",
	} {
		err := ValidateUser(user)
		require.ErrorIs(t, err, ErrUser, "%q", user)
		require.ErrorContains(t, err, why, "%q", user)
	}
}

func TestHost(t *testing.T) {
	for name, c := range map[string]struct{ tpl, domain, user, want, wantErr string }{
		"default":           {user: "Alice.Example@example.com", want: "alice-example-jje2z6fgxvzhokcj.vdi.example.com"},
		"readable":          {tpl: "{user}", user: "alice@example.com", want: "alice.vdi.example.com"},
		"session":           {tpl: "{session}-{namespace}", user: "x", want: "desk-team.vdi.example.com"},
		"fixed text":        {tpl: "d-{id}", user: "x", want: "d-jje2z6fgxvzhokcj.vdi.example.com"},
		"no ASCII":          {tpl: "{user}", user: "李雷", want: "user.vdi.example.com"},
		"dashes":            {tpl: "{user}", user: "--a__b--@x", want: "a-b.vdi.example.com"},
		"long":              {tpl: "{user}", user: strings.Repeat("ab.", 30), want: strings.Repeat("ab-", 13) + "a.vdi.example.com"},
		"brackets in user":  {tpl: "{user}", user: "{id}{session}", want: "id-session.vdi.example.com"},
		"too long a label":  {tpl: "{user}-{id}-{namespace}-{session}-{session}", user: strings.Repeat("a", 60), wantErr: "DNS label"},
		"unknown placement": {tpl: "{user}{unknown}-", user: "a", wantErr: "DNS label"},
		"login host":        {tpl: "{user}", user: "auth@example.com", wantErr: "the host of the login"},
		"bad domain":        {domain: "Example.com", user: "a", wantErr: "sessions.domain"},
		"long domain":       {domain: strings.Repeat("a.", 120) + "com", user: "a", wantErr: "sessions.domain"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Sessions{Domain: c.domain, HostTemplate: c.tpl}
			if cfg.Domain == "" {
				cfg.Domain = "vdi.example.com"
			}
			got, err := Host(cfg, c.user, "desk", "team", "uid-1")
			if c.wantErr != "" {
				require.ErrorIs(t, err, ErrHost)
				require.ErrorContains(t, err, c.wantErr)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestHostNeedsClaim(t *testing.T) {
	assert.False(t, HostNeedsClaim(Sessions{}))
	assert.False(t, HostNeedsClaim(Sessions{HostTemplate: "{id}"}))
	assert.True(t, HostNeedsClaim(Sessions{HostTemplate: "{user}"}))
	assert.True(t, HostNeedsClaim(Sessions{HostTemplate: "{session}-{namespace}"}))
}

func TestURL(t *testing.T) {
	assert.Equal(t, "https://a.example.com", URL(Sessions{}, "a.example.com"))
	assert.Equal(t, "https://a.example.com", URL(Sessions{ExternalPort: 443}, "a.example.com"))
	assert.Equal(t, "https://a.example.com:8443", URL(Sessions{ExternalPort: 8443}, "a.example.com"))
}

func TestValidHost(t *testing.T) {
	for _, host := range []string{"a.b", "a-1.example.com", "xn--4ca.example"} {
		assert.True(t, ValidHost(host), host)
	}
	for _, host := range []string{"", "a", "a..b", ".a.b", "a.b.", "-a.b", "a-.b", "A.b", "a_b.c", "a b.c", "a.b`) || Host(`c.d", "a.b\n", strings.Repeat("a", 64) + ".b", "ä.b", "*.b.c"} {
		assert.False(t, ValidHost(host), host)
	}
}

func TestHasNVENC(t *testing.T) {
	for _, product := range []string{
		"Tesla-T4", "Tesla-T4-SHARED", "NVIDIA-A10", "NVIDIA-A10G-SHARED", "NVIDIA-A2", "NVIDIA-A16", "NVIDIA-A40", "NVIDIA-L4-SHARED", "NVIDIA-L40S",
		"Tesla-V100-SXM2-16GB", "NVIDIA-RTX-A6000", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "NVIDIA-GeForce-RTX-4090", "Quadro-RTX-8000",
	} {
		assert.True(t, HasNVENC(product), product)
	}
	for _, product := range []string{
		"A100-SXM4-40GB-SHARED", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-PCIE-40GB-MIG-1g.5gb", "NVIDIA-A30", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200",
		"NVIDIA-H20", "NVIDIA-GH200-480GB", "NVIDIA-B100", "NVIDIA-B200", "NVIDIA-GB200", "", "NVIDIA-Unknown-9000", "-SHARED",
	} {
		assert.False(t, HasNVENC(product), product)
	}
}

func TestStreamerTable(t *testing.T) {
	for _, streamer := range []vdi.Streamer{vdi.StreamerSelkies, vdi.StreamerSelkiesGStreamer, vdi.StreamerCustom, ""} {
		facts := FactsOf(streamer)
		assert.NotEmpty(t, facts.PasswordVariables, streamer)
		assert.NotEmpty(t, facts.Home, streamer)
		assert.Contains(t, facts.Protected, "SELKIES_TURN_SHARED_SECRET", streamer)
		for _, s := range append(facts.Fixed, facts.Defaults...) {
			assert.NotContains(t, facts.PasswordVariables, s.Name, "a password is never a literal")
			assert.NotEmpty(t, s.Value, "%s: an empty value brings the built-in default back", s.Name)
		}
		facts.Fixed = append(facts.Fixed[:0], Setting{"X", "y"})
		assert.NotEqual(t, facts.Fixed, FactsOf(streamer).Fixed, "rows are not shared")
	}
	assert.Equal(t, FactsOf(vdi.StreamerSelkies), FactsOf(""))
}

func TestSelkiesNeverUsesPublicRelays(t *testing.T) {
	for _, streamer := range []vdi.Streamer{vdi.StreamerSelkies, vdi.StreamerSelkiesGStreamer} {
		set := map[string]string{}
		for _, s := range FactsOf(streamer).Defaults {
			set[s.Name] = s.Value
		}
		assert.Equal(t, "turn.invalid", set["SELKIES_TURN_HOST"])
		assert.Equal(t, "stun.invalid", set["SELKIES_STUN_HOST"])
	}
}

func FuzzHost(f *testing.F) {
	f.Add("alice@example.com", "desk", "team", "u1", "u2")
	f.Add("`) || Host(`x", "a.b", "-", "", " ")
	cfg := Sessions{Domain: "vdi.example.com"}
	f.Fuzz(func(t *testing.T, user, session, namespace, uid, otherUID string) {
		host, err := Host(cfg, user, session, namespace, uid)
		require.NoError(t, err, "the default template fits every user")
		require.True(t, ValidHost(host), host)
		require.NotContains(t, host, "`")
		other, err := Host(cfg, user, session, namespace, otherUID)
		require.NoError(t, err)
		require.Equal(t, uid == otherUID, host == other)
	})
}

func FuzzHostTemplate(f *testing.F) {
	f.Add("{user}", "a", "b", "c")
	f.Add("{session}`{namespace}", "x.y", "z", "w")
	f.Fuzz(func(t *testing.T, tpl, user, session, namespace string) {
		host, err := Host(Sessions{Domain: "vdi.example.com", HostTemplate: tpl}, user, session, namespace, "uid")
		if err != nil {
			require.ErrorIs(t, err, ErrHost)
			return
		}
		require.True(t, ValidHost(host), host)
		require.Equal(t, 3, strings.Count(host, "."), "one label under the domain")
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add("alice@example.com", "alice-example-com")
	f.Fuzz(func(t *testing.T, one, other string) {
		require.Equal(t, one == other, Identity(one) == Identity(other))
		if ValidateUser(one) == nil {
			require.True(t, utf8.ValidString(one))
			require.NotContains(t, one, "\n")
		}
	})
}
