package webrtc

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/chromium"
	"github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

// patience bounds how long real programs may take on a busy machine.
const patience = 2 * time.Minute

// onlyRelayed makes the page use the relay alone, as a browser behind a strict
// firewall has to, and remembers the page's connections.
const onlyRelayed = `{
  const Plain = window.RTCPeerConnection;
  const relayed = (c) => ({...c, iceTransportPolicy: "relay"});
  window.connections = [];
  window.RTCPeerConnection = class extends Plain {
    constructor(c, ...rest) { super(relayed(c), ...rest); window.connections.push(this); }
    setConfiguration(c) { super.setConfiguration(relayed(c)); }
  };
}`

// measured is what the connection with the most frames says of itself.
const measured = `(async () => {
  let best = {frames: 0, width: 0, local: "", remote: "", protocol: "", url: ""};
  for (const connection of window.connections ?? []) {
    const stats = await connection.getStats();
    const one = {frames: 0, width: 0, local: "", remote: "", protocol: "", url: ""};
    for (const s of stats.values()) {
      if (s.type === "inbound-rtp" && s.kind === "video") { one.frames = s.framesDecoded ?? 0; one.width = s.frameWidth ?? 0; }
      if (s.type !== "transport" || !s.selectedCandidatePairId) continue;
      const pair = stats.get(s.selectedCandidatePairId), local = stats.get(pair.localCandidateId), remote = stats.get(pair.remoteCandidateId);
      Object.assign(one, {local: local.candidateType, remote: remote.candidateType, protocol: local.relayProtocol ?? "", url: local.url ?? "", address: remote.address ?? ""});
    }
    if (one.frames >= best.frames) best = one;
  }
  return best;
})()`

// stream is what the browser says of the video that it gets.
type stream struct {
	Frames, Width                         int
	Local, Remote, Protocol, URL, Address string
}

// tab is one tab of the real browser.
type tab struct{ chromium.Tab }

// openBrowser starts the real browser, which finds the session's host at the proxy.
func openBrowser(t *testing.T) tab {
	t.Helper()
	b := tab{chromium.Open(t, "MAP "+host+" "+public, chromedp.Flag("autoplay-policy", "no-user-gesture-required"))}
	require.NoError(t, chromedp.Do(b.Context, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: onlyRelayed})
		return err
	})))
	return b
}

// logIn gives the visitor's password to the agent's page.
func (b tab) logIn() {
	b.T.Helper()
	b.Do(chromedp.Navigate("https://"+host+":"+proxyPort+"/"), chromedp.WaitVisible("input[type=password]"),
		chromedp.SendKeys("input[type=password]", password+kb.Enter))
}

func (b tab) stream() stream {
	b.T.Helper()
	s, err := chromedp.Run(b.Context, chromedp.Evaluate[stream](measured, chromedp.EvalAwaitPromise))
	if err != nil {
		return stream{}
	}
	return s
}

// relayLogin is the login at the relay that the desktop gives to its page.
func (b tab) relayLogin() visitor.Credential {
	b.T.Helper()
	login, err := chromedp.Run(b.Context, chromedp.Evaluate[visitor.Credential](`fetch("/api/turn").then(r => r.json()).then(c => {
		const relay = c.iceServers.find(s => s.credential);
		return {User: relay.username, Password: relay.credential};
	})`, chromedp.EvalAwaitPromise))
	require.NoError(b.T, err)
	return login
}

// moves waits until that many more frames have come than there were.
func (b tab) moves(frames int) stream {
	b.T.Helper()
	var now stream
	before := b.stream().Frames // of a page that has just been loaded: 0
	require.Eventually(b.T, func() bool {
		now = b.stream()
		return now.Frames >= before+frames
	}, patience, 200*time.Millisecond, "the video moves")
	return now
}
