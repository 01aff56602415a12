package frontdoor

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// maxGroups is how many groups a session may name.
const maxGroups = 256

// maxRemembered is how long a person's name and their packed groups may be together, in
// bytes: browsers drop cookies above 4 KiB, and a ticket grows by a third when it is sealed.
const maxRemembered = 2300

// errTooMany: a login cannot carry all of a person's groups. Which of them count nobody
// could say then, so none does.
var errTooMany = errors.New("the groups are too many for a login, so none counts: name those that matter in access.oidc.onlyGroups, or let the identity provider send fewer")

// groupsIn are the groups that claims name and a session can name, in order. Whoever is in
// none has an empty list; providers leave the claim out then.
func groupsIn(claims map[string]json.RawMessage, settings platform.OIDC) ([]string, error) {
	none := []string{}
	sent, found := claims[settings.GroupsClaim]
	switch {
	case isElsewhere(claims, settings.GroupsClaim):
		return none, errTooMany
	case !found:
		return none, nil
	}
	var names []string
	if err := json.Unmarshal(sent, &names); err != nil {
		var one string
		if json.Unmarshal(sent, &one) != nil {
			return none, fmt.Errorf("the claim %q is no list of texts, so no group counts: set access.oidc.groupsClaim to one that is, or to \"\"", settings.GroupsClaim)
		}
		names = []string{one}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !platform.IsGroup(name) || len(settings.OnlyGroups) > 0 && !slices.Contains(settings.OnlyGroups, name)
	})
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxGroups {
		return none, errTooMany
	}
	return append(none, names...), nil
}

// isElsewhere reports whether the provider has sent an address in place of a claim (OpenID
// Connect Core §5.6.2), as some do when it is long.
func isElsewhere(claims map[string]json.RawMessage, claim string) bool {
	var elsewhere map[string]json.RawMessage
	return json.Unmarshal(claims["_claim_names"], &elsewhere) == nil && elsewhere[claim] != nil
}

// namesGroups reports whether claims say in which groups somebody is.
func namesGroups(claims map[string]json.RawMessage, claim string) bool {
	return claims[claim] != nil || isElsewhere(claims, claim)
}

// packGroups is what a login's tickets carry of a person's groups; "" where they are not
// known. Nothing else is compressed with them, so that their length says nothing of it.
func packGroups(user string, groups []string) (string, error) {
	if groups == nil {
		return "", nil
	}
	packed := pack(groups)
	if len(user)+len(packed) > maxRemembered {
		return pack(nil), errTooMany
	}
	return packed, nil
}

func pack(groups []string) string {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression) // fails for other levels only
	_, _ = io.WriteString(w, strings.Join(groups, "\n")) // a buffer takes everything
	_ = w.Close()
	return base64.RawURLEncoding.EncodeToString(out.Bytes())
}

// groupsOf are the groups of somebody who is logged in; nil where they are not known. Our own
// list is at hand, and says what counts now.
func (d *Door) groupsOf(login ticket) []string {
	if d.Access.Mode != wire.AccessLocal {
		return login.groups()
	}
	p, _ := d.People().ByUser(login.User)
	return p.Groups
}

// groups are those of the login behind a ticket; nil where they are not known: in mode
// Password, where no claim is read, and in logins of earlier releases.
func (t ticket) groups() []string {
	packed, err := base64.RawURLEncoding.DecodeString(t.Groups)
	if err != nil || len(packed) == 0 {
		return nil
	}
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed))) // we have packed it ourselves
	if err != nil {
		return nil
	}
	if len(text) == 0 {
		return []string{}
	}
	return strings.Split(string(text), "\n")
}

// sameGroups reports whether two lists name the same groups.
func sameGroups(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// waitsForGroups reports whether a session does not start because its template is for others,
// which other groups could change.
func waitsForGroups(s *vdi.VDISession) bool {
	accepted := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionAccepted)
	return s.Status.PodName == "" && s.Spec.RunPolicy != vdi.RunPolicySuspended &&
		accepted != nil && accepted.Status == metav1.ConditionFalse && accepted.Reason == vdi.ReasonTemplateNotAllowed
}
