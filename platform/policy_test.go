package platform

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Each word of the policy as the streamer's own settings. That the real Selkies
// takes them so is asked of it itself, see tests/selkies. Selkies 1.6:
// src/selkies_gstreamer/__main__.py, v1.6.2, --enable_clipboard.
func TestPolicySettings(t *testing.T) {
	const oldOne, newOne, other = vdi.StreamerSelkiesGStreamer, vdi.StreamerSelkies, vdi.StreamerCustom
	type policy = vdi.TemplatePolicy
	open := map[string]string{
		"SELKIES_ENABLE_CLIPBOARD": "true", "SELKIES_FILE_TRANSFERS": "upload,download",
		"SELKIES_AUDIO_ENABLED": "true", "SELKIES_MICROPHONE_ENABLED": "false|locked",
	}
	for name, c := range map[string]struct {
		streamer vdi.Streamer
		policy   policy
		differs  map[string]string // from what holds where nothing is said
	}{
		"nothing said":      {newOne, policy{}, nil},
		"no streamer said":  {"", policy{}, nil},
		"all open":          {newOne, policy{Clipboard: "Both", FileTransfer: "Both", Audio: new(true), Microphone: new(true)}, map[string]string{"SELKIES_MICROPHONE_ENABLED": "true"}},
		"clipboard in":      {newOne, policy{Clipboard: "ToDesktop"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "in"}},
		"clipboard out":     {newOne, policy{Clipboard: "FromDesktop"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "out"}},
		"no clipboard":      {newOne, policy{Clipboard: "None"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "false"}},
		"upload":            {newOne, policy{FileTransfer: "Upload"}, map[string]string{"SELKIES_FILE_TRANSFERS": "upload", "SELKIES_PRINTING_ENABLED": "false|locked"}},
		"download":          {newOne, policy{FileTransfer: "Download"}, map[string]string{"SELKIES_FILE_TRANSFERS": "download"}},
		"no files":          {newOne, policy{FileTransfer: "None"}, map[string]string{"SELKIES_FILE_TRANSFERS": "none", "SELKIES_PRINTING_ENABLED": "false|locked", "SELKIES_UI_SIDEBAR_SHOW_FILES": "false|locked"}},
		"no audio":          {newOne, policy{Audio: new(false)}, map[string]string{"SELKIES_AUDIO_ENABLED": "false|locked"}},
		"microphone":        {newOne, policy{Microphone: new(true)}, map[string]string{"SELKIES_MICROPHONE_ENABLED": "true"}},
		"1.6":               {oldOne, policy{}, nil},
		"1.6 clipboard in":  {oldOne, policy{Clipboard: "ToDesktop"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "in"}},
		"1.6 clipboard out": {oldOne, policy{Clipboard: "FromDesktop"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "out"}},
		"1.6 no clipboard":  {oldOne, policy{Clipboard: "None"}, map[string]string{"SELKIES_ENABLE_CLIPBOARD": "false"}},
		"1.6 as it is":      {oldOne, policy{FileTransfer: "None", Audio: new(true), Microphone: new(false)}, nil},
		"custom":            {other, policy{}, nil},
	} {
		want := map[string]string{}
		switch c.streamer {
		case oldOne:
			want["SELKIES_ENABLE_CLIPBOARD"] = "true"
		case newOne, "":
			for variable, value := range open {
				want[variable] = value
			}
		}
		for variable, value := range c.differs {
			want[variable] = value
		}
		got, err := PolicySettings(c.streamer, c.policy)
		require.NoError(t, err, name)
		settings := map[string]string{}
		for _, s := range got {
			settings[s.Name] = s.Value
			assert.Contains(t, s.Field, "spec.policy.", name)
		}
		assert.Equal(t, want, settings, name)
		assert.Len(t, got, len(want), "%s: each variable once", name)
	}
}

// What a streamer cannot keep to is refused, with the field and the remedy.
func TestPolicyThatCannotBeKept(t *testing.T) {
	type policy = vdi.TemplatePolicy
	for name, c := range map[string]struct {
		streamer vdi.Streamer
		policy   policy
		says     string
	}{
		"1.6 has no files":          {vdi.StreamerSelkiesGStreamer, policy{FileTransfer: "Upload"}, "spec.policy.fileTransfer: streamer SelkiesGStreamer cannot keep to Upload; use None, or use streamer Selkies"},
		"1.6 has sound":             {vdi.StreamerSelkiesGStreamer, policy{Audio: new(false)}, "spec.policy.audio: streamer SelkiesGStreamer cannot keep to false; use true, or use streamer Selkies"},
		"1.6 has no microphone":     {vdi.StreamerSelkiesGStreamer, policy{Microphone: new(true)}, "spec.policy.microphone: streamer SelkiesGStreamer cannot keep to true; use false"},
		"custom: clipboard":         {vdi.StreamerCustom, policy{Clipboard: "Both"}, "spec.policy.clipboard: streamer Custom cannot keep to Both; remove it, or use streamer Selkies"},
		"custom: files":             {vdi.StreamerCustom, policy{FileTransfer: "None"}, "spec.policy.fileTransfer: streamer Custom cannot keep to None; remove it"},
		"custom: audio":             {vdi.StreamerCustom, policy{Audio: new(true)}, "spec.policy.audio: streamer Custom"},
		"custom: microphone":        {vdi.StreamerCustom, policy{Microphone: new(false)}, "spec.policy.microphone: streamer Custom"},
		"a word that is none":       {vdi.StreamerSelkies, policy{Clipboard: "In"}, "cannot keep to In; use Both, FromDesktop, None, ToDesktop"},
		"a microphone in silence":   {vdi.StreamerSelkies, policy{Audio: new(false), Microphone: new(true)}, "spec.policy.microphone needs spec.policy.audio"},
		"both problems are told: 1": {vdi.StreamerCustom, policy{Clipboard: "None", FileTransfer: "None"}, "spec.policy.clipboard"},
		"both problems are told: 2": {vdi.StreamerCustom, policy{Clipboard: "None", FileTransfer: "None"}, "spec.policy.fileTransfer"},
	} {
		_, err := PolicySettings(c.streamer, c.policy)
		require.ErrorIs(t, err, ErrPolicy, name)
		assert.ErrorContains(t, err, c.says, name)
	}
}

// The agent holds visitors to what the streamer is told.
func TestFileTransferOf(t *testing.T) {
	assert.Equal(t, vdi.FileTransferBoth, FileTransferOf(vdi.StreamerSelkies, vdi.TemplatePolicy{}))
	assert.Equal(t, vdi.FileTransferUpload, FileTransferOf(vdi.StreamerSelkies, vdi.TemplatePolicy{FileTransfer: "Upload"}))
	assert.Equal(t, vdi.FileTransferNone, FileTransferOf(vdi.StreamerSelkiesGStreamer, vdi.TemplatePolicy{FileTransfer: "None"}))
	assert.Equal(t, vdi.FileTransferBoth, FileTransferOf(vdi.StreamerSelkiesGStreamer, vdi.TemplatePolicy{}), "what comes over its data channel is not HTTP")
	assert.Equal(t, vdi.FileTransferBoth, FileTransferOf(vdi.StreamerCustom, vdi.TemplatePolicy{}))
}
