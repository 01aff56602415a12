package renderer

import "github.com/vdi-platform/vdi-platform/platform"

// turnValues name the Secret with the session's login at the relay, where the
// desktop streams through one.
func turnValues(in Input) values {
	if !platform.UsesRelay(in.Template.Spec) {
		return values{"secretName": ""}
	}
	return values{"secretName": TURNLoginName(in.Session.Name)}
}

// turnRangeValues let the desktop reach the relay's ports, also where the relay
// has a private address.
func turnRangeValues(in Input) values {
	relay := in.Platform.Sessions.TURN
	if !platform.UsesRelay(in.Template.Spec) || len(relay.Ranges) == 0 {
		return values{"ranges": []any{}, "ports": []any{}}
	}
	ports := []any{}
	for _, p := range relay.Ports() {
		ports = append(ports, values{"port": int64(p.Port), "protocol": p.Protocol})
	}
	return values{"ranges": anys(relay.Ranges), "ports": ports}
}
