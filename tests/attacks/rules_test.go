package attacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// bank is a host that the attacker wants traffic of.
const bank = "bank.example.com"

// injections are texts that mean something in a routing rule.
var injections = map[string]string{
	"a backtick and an or":   "alice`) || Host(`" + bank,
	"a quote and an or":      `alice") || Host("` + bank,
	"a path":                 "alice`) || PathPrefix(`/",
	"a line break":           "alice\n`) || Host(`" + bank,
	"a not":                  "alice`) || !Host(`nothing.example.com",
	"a regular expression":   "alice`) || HostRegexp(`.*",
	"upper case":             "ALICE`) || HOST(`" + bank,
	"a carriage return":      "alice\r`) || Host(`" + bank,
	"an escape":              "alice\\`) || Host(`" + bank,
	"full-width punctuation": "alice｀）｜｜Host（｀" + bank,
}

// TestA05RuleInjection puts such texts wherever a person's text could reach the rule,
// and lets Traefik's own parser and muxer read it.
func TestA05RuleInjection(t *testing.T) {
	for name, text := range injections {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			// A naive operator writes the user into the rule, between the quotes that the text breaks.
			return injected(t, "Host(`"+text+"."+domain+"`)", "Host(\""+text+"."+domain+"\")", "Host("+text+"."+domain+")", "Host(`"+folded(text)+"`)")
		}, func(t *testing.T) ledger.Outcome {
			var rules []string
			for _, tpl := range []string{"", "{user}", "{session}", "{namespace}", "{user}-{session}-{namespace}", text} {
				for _, given := range [][4]string{{text, "desk", "team", "uid"}, {"alice", text, "team", "uid"}, {"alice", "desk", text, "uid"}, {"alice", "desk", "team", text}} {
					host, err := platform.Host(platform.Sessions{Domain: domain, HostTemplate: tpl}, given[0], given[1], given[2], given[3])
					if err != nil {
						require.ErrorIs(t, err, platform.ErrHost)
						continue
					}
					require.True(t, platform.ValidHost(host), host)
					rules = append(rules, "Host(`"+host+"`)")
				}
			}
			_, err := platform.Host(platform.Sessions{Domain: text}, "alice", "desk", "team", "uid")
			require.ErrorIs(t, err, platform.ErrHost)
			require.NotEmpty(t, rules)
			return injected(t, rules...)
		})
	}
}

// folded is what is left of full-width signs where somebody normalises them.
func folded(text string) string {
	plain := map[rune]rune{'｀': '`', '）': ')', '（': '(', '｜': '|'}
	out := []rune(text)
	for i, r := range out {
		if p, found := plain[r]; found {
			out[i] = p
		}
	}
	return string(out)
}

// injected is Worked when one of the rules says more than one host of ours.
func injected(t *testing.T, rules ...string) ledger.Outcome {
	t.Helper()
	for i, rule := range parsed(t, rules) {
		if rule.Error != "" {
			continue // the proxy refuses the whole route
		}
		sole := len(rule.Matchers) == 1 && rule.Matchers[0].Name == "Host" && len(rule.Matchers[0].Values) == 1 && !rule.Matchers[0].Not
		if !sole || len(rule.Routed) > 0 {
			t.Logf("%s reads as %v and routes %v", rules[i], rule.Matchers, rule.Routed)
			return ledger.Worked()
		}
	}
	return ledger.Blocked(ledger.Design, "every rule is one host")
}

// parsedRule is what tests/tools/rules tells of a rule.
type parsedRule struct {
	Error    string
	Matchers []struct {
		Name   string
		Not    bool
		Values []string
	}
	Routed []string
}

func parsed(t *testing.T, rules []string) (out []parsedRule) {
	t.Helper()
	require.NoError(t, cluster.BuildTools(t.Context(), os.Stderr, "traefik-rules"))
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	in, err := json.Marshal(rules)
	require.NoError(t, err)
	reader := exec.CommandContext(t.Context(), filepath.Join(bin, "traefik-rules"), bank, "whatever.example.com")
	reader.Stdin = bytes.NewReader(in)
	text, err := reader.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &out))
	require.Len(t, out, len(rules), fmt.Sprint(rules))
	return out
}
