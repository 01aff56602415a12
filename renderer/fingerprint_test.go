package renderer

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// notRead lists the fields of Input that rendering does not read; a field stands for
// all below it. A new field of Input belongs here or into the fingerprint.
func notRead() []string {
	return append(notReadOfMetadata("Session.ObjectMeta.", "Name", "Namespace", "UID"), append(
		notReadOfMetadata("Template.ObjectMeta.", "Name"),
		"Session.TypeMeta", "Session.Status",
		"Session.Spec.Template", // the template itself is part of the input
		"Session.Spec.Groups", "Template.Spec.Access",
		"Session.Spec.DisplayName",
		"Session.Spec.Persistence.ReclaimPolicy", "Session.Spec.Persistence.RetainFor",
		"Session.Spec.Timeout", "Session.Spec.TimeoutAction", "Session.Spec.IdleTimeout",
		"Session.Spec.RunPolicy", "Session.Spec.KeepAliveUntil",
		"Template.TypeMeta", "Template.Status",
		"Template.Spec.DisplayName", "Template.Spec.Description", "Template.Spec.Category", "Template.Spec.Icon",
		"Template.Spec.Deprecated", "Template.Spec.Lifecycle",
		"Platform.TimeSlicing", "Platform.Encoder", "Platform.Access.OIDC", "Platform.Admission", "Platform.Queue", "Platform.Accounting",
		"Platform.Sessions.Domain", "Platform.Sessions.HostTemplate", "Platform.Sessions.PortalLabel", "Platform.Sessions.ExternalPort",
		"Platform.Sessions.VerifyRoute", "Platform.Sessions.GPUSharing",
	)...)
}

// notReadOfMetadata are the fields of an object's metadata but for the named ones.
func notReadOfMetadata(prefix string, read ...string) (out []string) {
	for field := range reflect.TypeFor[metav1.ObjectMeta]().Fields() {
		if !strings.Contains(" "+strings.Join(read, " ")+" ", " "+field.Name+" ") {
			out = append(out, prefix+field.Name)
		}
	}
	return out
}

// leaf is one field of Input that is no struct of ours, and how to change it.
type leaf struct {
	path  string
	steps []int
}

// leavesOf are all fields below a type; structs of other modules are leaves, since
// they are encoded whole.
func leavesOf(at reflect.Type, path string, steps []int) (out []leaf) {
	if at.Kind() != reflect.Struct || !isOurs(at) {
		return []leaf{{strings.TrimPrefix(path, "."), steps}}
	}
	for i := range at.NumField() {
		field := at.Field(i)
		out = append(out, leavesOf(field.Type, path+"."+field.Name, append(steps[:len(steps):len(steps)], i))...)
	}
	return out
}

func isOurs(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "github.com/vdi-platform/") || t == reflect.TypeFor[metav1.ObjectMeta]()
}

// change gives the input another value at the leaf.
func (l leaf) change(t *testing.T, in *Input) {
	before := reflect.ValueOf(*in).FieldByIndex(l.steps).Interface()
	at := reflect.ValueOf(in).Elem().FieldByIndex(l.steps)
	alter(t, at)
	require.NotEqual(t, before, at.Interface(), l.path)
}

// alter sets something else of the same type; it changes nothing that other inputs share.
func alter(t *testing.T, v reflect.Value) {
	switch v.Interface().(type) {
	case vdi.EncoderChoice:
		v.SetString(string(vdi.EncoderNVENC))
		return
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Interface:
		v.Set(reflect.ValueOf("x"))
	case reflect.Struct:
		alter(t, v.Field(0))
	default:
		alterReference(t, v)
	}
}

func alterReference(t *testing.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[[]byte]() { // free-form values are JSON
		v.SetBytes([]byte(`{"pod":{"shmSize":"3Mi"}}`))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		alter(t, fresh.Elem())
		v.Set(fresh)
	case reflect.Slice:
		element := reflect.New(v.Type().Elem()).Elem()
		alter(t, element)
		v.Set(reflect.Append(v.Slice3(0, v.Len(), v.Len()), element))
	case reflect.Map:
		key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		alter(t, key)
		alter(t, element)
		more := reflect.MakeMap(v.Type())
		for entry := v.MapRange(); entry.Next(); {
			more.SetMapIndex(entry.Key(), entry.Value())
		}
		more.SetMapIndex(key, element)
		v.Set(more)
	default:
		require.Fail(t, "teach this test to change a "+v.Type().String())
	}
}

func fingerprintOf(t *testing.T, in Input) Fingerprint {
	t.Helper()
	sum, err := in.Fingerprint()
	require.NoError(t, err)
	return sum
}

// baseInputs are sessions in which as much as possible counts.
func baseInputs(t *testing.T) map[string]Input {
	all := goldenInputs(t)
	oidc, relay := all["oidc"], all["streamer-selkies-gstreamer"]
	relay.Platform.Access, relay.StatementKeys = oidc.Platform.Access, oidc.StatementKeys
	return map[string]Input{"defaults": all["defaults"], "oidc": oidc, "relay": relay}
}

// TestFingerprintKnowsEveryField: a field is in the fingerprint or on the list of
// what is not read, and never both.
func TestFingerprintKnowsEveryField(t *testing.T) {
	in := baseInputs(t)["relay"]
	used := map[string]bool{}
	for _, l := range leavesOf(reflect.TypeFor[Input](), "", nil) {
		listed := false
		for _, field := range notRead() {
			if l.path == field || strings.HasPrefix(l.path, field+".") {
				listed, used[field] = true, true
			}
		}
		changed := in
		l.change(t, &changed)
		counts := fingerprintOf(t, changed) != fingerprintOf(t, in)
		assert.NotEqual(t, listed, counts, "%s: add it to readSession, readTemplate or readPlatform if rendering reads it, and else to notRead", l.path)
	}
	for _, field := range notRead() {
		assert.True(t, used[field], "Input has no field %s any more", field)
	}
}

// TestFingerprintChangesWithTheRendering: whatever field makes rendering come to
// something else changes the fingerprint. Only what does not change it is rendered.
func TestFingerprintChangesWithTheRendering(t *testing.T) {
	r := newRenderer(t)
	for name, in := range baseInputs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, sum := rendering(t, r, in), fingerprintOf(t, in)
			for _, l := range leavesOf(reflect.TypeFor[Input](), "", nil) {
				changed := in
				l.change(t, &changed)
				if fingerprintOf(t, changed) == sum {
					assert.True(t, rendering(t, r, changed) == before, "%s changes the rendering, and not the fingerprint", l.path)
				}
			}
		})
	}
}

// TestFingerprintsOfGoldenSessions: the same fingerprint means the same outcome.
func TestFingerprintsOfGoldenSessions(t *testing.T) {
	r, seen := newRenderer(t), map[Fingerprint]string{}
	for name, in := range goldenInputs(t) {
		sum := fingerprintOf(t, in)
		require.Equal(t, sum, fingerprintOf(t, in), name)
		outcome := rendering(t, r, in)
		if known, found := seen[sum]; found {
			assert.Equal(t, known, outcome, name)
		}
		seen[sum] = outcome
	}
}

// rendering is all that comes of an input: objects and revisions, or an error.
func rendering(t *testing.T, r *Renderer, in Input) string {
	got, err := r.Render(in)
	return fmt.Sprint(jsonOf(t, got.Objects), got.Revision, got.Claims, err)
}

func TestFingerprintCountsEncoderByItsName(t *testing.T) {
	in := baseInputs(t)["defaults"]
	in.Encoder = vdi.EncoderSoftware
	software := fingerprintOf(t, in)
	in.Encoder = vdi.EncoderNVENC
	require.Equal(t, software, fingerprintOf(t, in), "Selkies 2.x has one name for all encoders")
}

func TestFingerprintCountsKeysInModeOIDCAlone(t *testing.T) {
	in := baseInputs(t)["defaults"]
	without := fingerprintOf(t, in)
	in.StatementKeys = map[string]string{"a.pem": "A"}
	require.Equal(t, without, fingerprintOf(t, in))
}

func TestFingerprintOfBrokenValues(t *testing.T) {
	in := baseInputs(t)["defaults"]
	in.Platform.Sessions.Values = map[string]any{"a": func() {}}
	_, err := in.Fingerprint()
	require.ErrorContains(t, err, `fingerprint of session "desk"`)
}
