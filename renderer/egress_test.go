package renderer

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vdi-platform/vdi-platform/platform"
)

// TestNoProxy: with a proxy, the pod itself is reached directly.
func TestNoProxy(t *testing.T) {
	const proxy = "http://proxy.example.com:3128"
	for name, c := range map[string]struct {
		egress platform.Egress
		want   string
	}{
		"no proxy":        {platform.Egress{}, ""},
		"no proxy, hosts": {platform.Egress{NoProxy: ".svc"}, ".svc"},
		"http":            {platform.Egress{HTTPProxy: proxy}, "localhost,127.0.0.1,::1"},
		"https":           {platform.Egress{HTTPSProxy: proxy}, "localhost,127.0.0.1,::1"},
		"hosts first":     {platform.Egress{HTTPProxy: proxy, NoProxy: ".svc, 10.0.0.0/8"}, ".svc, 10.0.0.0/8,localhost,127.0.0.1,::1"},
		"some are there":  {platform.Egress{HTTPProxy: proxy, NoProxy: "::1, LocalHost ,.svc,"}, "::1, LocalHost ,.svc,127.0.0.1"},
		"all are there":   {platform.Egress{HTTPProxy: proxy, NoProxy: "127.0.0.1,.svc,localhost,::1"}, "127.0.0.1,.svc,localhost,::1"},
		"in other words":  {platform.Egress{HTTPProxy: proxy, NoProxy: "my-localhost"}, "my-localhost,localhost,127.0.0.1,::1"},
		"blank":           {platform.Egress{HTTPProxy: proxy, NoProxy: " "}, "localhost,127.0.0.1,::1"},
		"everything":      {platform.Egress{HTTPProxy: proxy, NoProxy: "*"}, "*"},
	} {
		t.Run(name, func(t *testing.T) {
			set := map[string]string{}
			for _, s := range settingsOf(c.egress) {
				set[s.Name] = s.Value
			}
			assert.Equal(t, c.want, set["NO_PROXY"])
			assert.Equal(t, c.want, set["no_proxy"])
		})
	}
}
