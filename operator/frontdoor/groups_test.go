package frontdoor

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

func TestGroupsIn(t *testing.T) {
	many := `["` + strings.Join(numbered("g-%04d", maxGroups+1), `","`) + `"]`
	for _, c := range []struct {
		claims string
		only   []string
		want   []string
		err    string
	}{
		{`{"groups":["b","a","b"]}`, nil, []string{"a", "b"}, ""},
		{`{"groups":["/artists","CN=a,OU=b c"]}`, nil, []string{"/artists", "CN=a,OU=b c"}, ""},
		{`{"groups":"artists"}`, nil, []string{"artists"}, ""},
		{`{"groups":[]}`, nil, []string{}, ""},
		{`{"groups":null}`, nil, []string{}, ""},
		{`{"sub":"x"}`, nil, []string{}, ""},
		{`{"groups":["system:masters","a","","a\nb","` + strings.Repeat("x", platform.MaxGroupLength+1) + `"]}`, nil, []string{"a"}, ""},
		{`{"groups":["a","b","c"]}`, []string{"c", "d"}, []string{"c"}, ""},
		{`{"groups":{"a":1}}`, nil, []string{}, "access.oidc.groupsClaim"},
		{`{"groups":[1]}`, nil, []string{}, "access.oidc.groupsClaim"},
		{`{"_claim_names":{"groups":"src1"}}`, nil, []string{}, "access.oidc.onlyGroups"},
		{`{"_claim_names":{"address":"src1"},"groups":["a"]}`, nil, []string{"a"}, ""},
		{`{"groups":` + many + `}`, nil, []string{}, "access.oidc.onlyGroups"},
		{`{"groups":` + many + `}`, []string{"g-0007"}, []string{"g-0007"}, ""},
	} {
		claims := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal([]byte(c.claims), &claims))
		got, err := groupsIn(claims, platform.OIDC{GroupsClaim: "groups", OnlyGroups: c.only})
		assert.Equal(t, c.want, got, c.claims)
		if c.err == "" {
			assert.NoError(t, err, c.claims)
		} else {
			assert.ErrorContains(t, err, c.err)
		}
	}
}

func numbered(format string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}

// A login comes back with the groups that it was packed with; what is not known stays so.
func TestGroupsTravelInTickets(t *testing.T) {
	for _, groups := range [][]string{nil, {}, {"a"}, {"a b", "CN=ä,OU=c", "日本"}, numbered("/department/team-%03d", maxGroups)} {
		packed, err := packGroups("alice@example.com", groups)
		require.NoError(t, err)
		assert.Equal(t, groups, ticket{Groups: packed}.groups())
	}
	assert.Nil(t, ticket{Groups: "no base64!"}.groups())
	assert.Nil(t, ticket{Groups: "AAAA"}.groups())
}

// The cookie of a login is one that browsers keep, whatever groups it carries; where not all
// would fit, none counts.
func TestGroupsFitIntoACookie(t *testing.T) {
	keys, numbers := keysOf(t, map[string][]byte{"a.key": cookieFile(t)}), rand.New(rand.NewPCG(1, 2))
	ids := func(n int) (names []string) {
		for range n {
			names = append(names, fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", numbers.Uint32(), numbers.IntN(1<<16), numbers.IntN(1<<12), numbers.IntN(1<<12), numbers.Int64N(1<<48)))
		}
		return names
	}
	fitting := 0
	for n := 1; n <= maxGroups; n++ {
		user := strings.Repeat("u", n) // also the longest
		packed, err := packGroups(user, ids(n))
		if err != nil {
			require.ErrorIs(t, err, errTooMany)
			assert.Equal(t, []string{}, ticket{Groups: packed}.groups(), "none counts")
		} else {
			fitting = n
		}
		login := ticket{
			Expires: noon.Unix(), Host: strings.Repeat("h", 253), SessionUID: strings.Repeat("s", 36), User: user, Groups: packed,
			Login: random(), LoginIssued: noon.UnixMilli(), LoginExpires: noon.Unix(),
		}
		sealed, err := keys.seal(forDesktop, login)
		require.NoError(t, err)
		require.Less(t, len(loginCookie)+1+len(sealed), 4096, "%d groups", n)
	}
	assert.GreaterOrEqual(t, fitting, 75, "groups named by UUIDs")
}

func TestWaitsForGroups(t *testing.T) {
	refused := func(reason string) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) {
			s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionAccepted, Status: metav1.ConditionFalse, Reason: reason}}
		}
	}
	lives := func(s *vdi.VDISession) { s.Status.PodName = "desk" }
	assert.True(t, waitsForGroups(session(vdi.PhaseFailed, vdi.RunPolicyRunning, refused(vdi.ReasonTemplateNotAllowed))))
	assert.False(t, waitsForGroups(session(vdi.PhaseFailed, vdi.RunPolicyRunning, refused(vdi.ReasonInvalidResources))))
	assert.False(t, waitsForGroups(session(vdi.PhaseRunning, vdi.RunPolicyRunning, refused(vdi.ReasonTemplateNotAllowed), lives)))
	assert.False(t, waitsForGroups(session(vdi.PhaseSuspended, vdi.RunPolicySuspended, refused(vdi.ReasonTemplateNotAllowed))))
	assert.False(t, waitsForGroups(session(vdi.PhaseFailed, vdi.RunPolicyRunning)))
}
