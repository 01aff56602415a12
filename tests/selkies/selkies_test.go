// Package selkies asks the real Selkies whether it knows the settings that the
// platform's table gives it, and what it makes of their values.
package selkies

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

// packages is where the Selkies of the local cluster's desktop image is unpacked.
var packages string

func TestMain(m *testing.M) {
	code, err := withSelkies(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "unpack Selkies:", err)
		code = 1
	}
	os.Exit(code)
}

// withSelkies unpacks Selkies alone: its settings need nothing else.
func withSelkies(m *testing.M) (code int, err error) {
	pinned, err := fs.ReadFile(images.Desktop(), "requirements.txt")
	if err != nil {
		return 1, err
	}
	for line := range strings.Lines(string(pinned)) {
		if strings.HasPrefix(line, "selkies==") {
			if packages, err = os.MkdirTemp("", "selkies-"); err != nil {
				return 1, err
			}
			defer os.RemoveAll(packages)
			return run(m, strings.TrimSpace(line))
		}
	}
	return 1, fmt.Errorf("tests/images/desktop/requirements.txt pins no selkies")
}

func run(m *testing.M, requirement string) (int, error) {
	pip := exec.CommandContext(context.Background(), "python3", "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target="+packages, requirement)
	if out, err := pip.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	return m.Run(), nil
}

// told is what Selkies says about its settings.
type told struct {
	// Known are all variables it reads.
	Known []string `json:"known"`
	// Values are what it works with, by setting: lists, texts, numbers; [value,
	// locked] for a boolean.
	Values map[string]any `json:"values"`
	// Wish is what it makes of a visitor's wish to turn every boolean around.
	Wish map[string]bool `json:"wish"`
}

// ask starts the real settings of Selkies in an environment.
const ask = `
import json, logging
from selkies import settings as s
quiet = logging.getLogger("quiet")
quiet.disabled = True
known, values, wish = [], {}, {}
for d in s.SETTING_DEFINITIONS:
    name, env = d["name"], d.get("env_var", [])
    known += ["SELKIES_" + name.upper()] + ([env] if isinstance(env, str) else list(env))
    values[name] = getattr(s.settings, name)
    if d["type"] == "bool":
        wish[name] = s.sanitize_client_setting(name, not values[name][0], s.settings, quiet)
print(json.dumps({"known": known, "values": values, "wish": wish}))
`

// selkies answers for an environment, and fails when Selkies complains about it.
func selkies(t *testing.T, env map[string]string) told {
	t.Helper()
	python := exec.CommandContext(t.Context(), "python3", "-c", ask)
	python.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PYTHONPATH=" + packages, "PYTHONDONTWRITEBYTECODE=1"}
	for name, value := range env {
		python.Env = append(python.Env, name+"="+value)
	}
	var complaints strings.Builder
	python.Stderr = &complaints
	out, err := python.Output()
	require.NoError(t, err, complaints.String())
	require.Empty(t, complaints.String(), "Selkies takes these settings as they are")
	var answer told
	require.NoError(t, json.Unmarshal(out, &answer))
	return answer
}

func policyEnv(t *testing.T, p vdi.TemplatePolicy) map[string]string {
	t.Helper()
	settings, err := platform.PolicySettings(vdi.StreamerSelkies, p)
	require.NoError(t, err)
	env := map[string]string{}
	for _, s := range settings {
		env[s.Name] = s.Value
	}
	return env
}

// Every variable of the table is one that Selkies reads.
func TestSelkiesKnowsEveryVariable(t *testing.T) {
	known := selkies(t, nil).Known
	for _, transport := range []vdi.Transport{vdi.TransportWebSocket, vdi.TransportWebRTC} {
		facts := platform.FactsOfTemplate(vdi.VDITemplateSpec{Transport: transport})
		names := []string{facts.EncoderVariable, facts.UserVariables[0], facts.PasswordVariables[0]}
		for _, settings := range [][]platform.Setting{facts.Fixed, facts.Defaults, facts.SoftwareSettings} {
			for _, s := range settings {
				names = append(names, s.Name)
			}
		}
		assert.Subset(t, known, names, transport)
	}
	closed := vdi.TemplatePolicy{Clipboard: vdi.ClipboardNone, FileTransfer: vdi.FileTransferNone, Audio: new(false)}
	for name := range policyEnv(t, closed) {
		assert.Contains(t, known, name)
	}
}

// Selkies takes every value of the table: nothing is dropped, clamped or replaced.
func TestSelkiesTakesEveryValue(t *testing.T) {
	for _, transport := range []vdi.Transport{vdi.TransportWebSocket, vdi.TransportWebRTC} {
		facts, env := platform.FactsOfTemplate(vdi.VDITemplateSpec{Transport: transport}), map[string]string{}
		for _, settings := range [][]platform.Setting{facts.Fixed, facts.Defaults, facts.SoftwareSettings, {{Name: facts.EncoderVariable, Value: facts.HardwareEncoder}}} {
			for _, s := range settings {
				env[s.Name] = s.Value
			}
		}
		values := selkies(t, env).Values
		for name, value := range env {
			setting := strings.ToLower(strings.TrimPrefix(name, "SELKIES_"))
			assert.Contains(t, spellings(values[setting]), value, "%s, %s", name, transport)
		}
	}
}

// spellings are the ways to write a value that Selkies works with.
func spellings(value any) []string {
	if pair, isBool := value.([]any); isBool && len(pair) == 2 {
		return []string{fmt.Sprint(pair[0]), fmt.Sprint(pair[0]) + "|locked"}
	}
	return []string{fmt.Sprint(value)}
}

// Each word of a policy means in Selkies what it says.
func TestPolicyInSelkies(t *testing.T) {
	type policy = vdi.TemplatePolicy
	for name, c := range map[string]struct {
		policy  policy
		setting string
		want    any
	}{
		"clipboard by default": {policy{}, "enable_clipboard", "true"},
		"clipboard in":         {policy{Clipboard: "ToDesktop"}, "enable_clipboard", "in"},
		"clipboard out":        {policy{Clipboard: "FromDesktop"}, "enable_clipboard", "out"},
		"no clipboard":         {policy{Clipboard: "None"}, "enable_clipboard", "false"},
		"files by default":     {policy{}, "file_transfers", []any{"upload", "download"}},
		"upload":               {policy{FileTransfer: "Upload"}, "file_transfers", []any{"upload"}},
		"no prints by upload":  {policy{FileTransfer: "Upload"}, "printing_enabled", []any{false, true}},
		"download":             {policy{FileTransfer: "Download"}, "file_transfers", []any{"download"}},
		"no files":             {policy{FileTransfer: "None"}, "file_transfers", []any{}},
		"no prints":            {policy{FileTransfer: "None"}, "printing_enabled", []any{false, true}},
		"nothing to see":       {policy{FileTransfer: "None"}, "ui_sidebar_show_files", []any{false, true}},
		"sound by default":     {policy{}, "audio_enabled", []any{true, false}},
		"no sound":             {policy{Audio: new(false)}, "audio_enabled", []any{false, true}},
		"no microphone":        {policy{}, "microphone_enabled", []any{false, true}},
		"microphone":           {policy{Microphone: new(true)}, "microphone_enabled", []any{true, false}},
	} {
		assert.Equal(t, c.want, selkies(t, policyEnv(t, c.policy)).Values[c.setting], name)
	}
}

// What the policy switches off stays off, whatever the page sends; without the
// lock a visitor would switch it on.
func TestVisitorsCannotSwitchBack(t *testing.T) {
	closed := vdi.TemplatePolicy{Clipboard: vdi.ClipboardNone, FileTransfer: vdi.FileTransferNone, Audio: new(false)}
	env := policyEnv(t, closed)
	locked := []string{"microphone_enabled", "audio_enabled", "printing_enabled", "ui_sidebar_show_files"}
	wish := selkies(t, env).Wish
	for _, setting := range locked {
		assert.False(t, wish[setting], setting)
	}
	for name, value := range env {
		env[name] = strings.TrimSuffix(value, "|locked")
	}
	wish = selkies(t, env).Wish
	for _, setting := range locked {
		assert.True(t, wish[setting], "%s without the lock", setting)
	}
}

// Selkies left alone would send its streams by way of strangers.
func TestWhatTheTableReplaces(t *testing.T) {
	values := selkies(t, nil).Values
	assert.Contains(t, values["turn_host"], "openrelay.metered.ca")
	assert.Contains(t, values["stun_host"], "google.com")
	assert.Equal(t, []any{true, false}, values["enable_dual_mode"])
}
