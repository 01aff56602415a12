package v1alpha1

// Condition types of a VDISession. They are few and stable; each carries a
// reason from the list below and a sentence for the user.
const (
	// ConditionReady: the spec is reached. A session suspended as asked is Ready.
	ConditionReady = "Ready"
	// ConditionAccepted: user, template, host and sizes are in order.
	ConditionAccepted = "Accepted"
	// ConditionHomeReady: the home volume is there and is this user's.
	ConditionHomeReady = "HomeReady"
	// ConditionScheduled: the pod has a node.
	ConditionScheduled = "Scheduled"
	// ConditionDesktopReady: the pod is ready; the desktop answers.
	ConditionDesktopReady = "DesktopReady"
	// ConditionReachable: a request through the proxy with the session's host was answered.
	ConditionReachable = "Reachable"
	// ConditionStalled: somebody has to change something before it goes on.
	ConditionStalled = "Stalled"
	// ConditionAdmitted: quotas (VDIQuota) and cluster have room for the run. Present only
	// of a run that had to ask for it.
	ConditionAdmitted = "Admitted"
	// ConditionExpiringSoon: the run ends soon. Present only while it applies.
	ConditionExpiringSoon = "ExpiringSoon"
	// ConditionUpdatePending: the next start uses newer settings, or would be
	// refused as things are; the reason says which. Present only while it applies.
	ConditionUpdatePending = "UpdatePending"
	// ConditionNameConflict: an object of a name this session needs is not ours. Present only while it applies.
	ConditionNameConflict = "NameConflict"
)

// ConditionValid is the condition of a VDITemplate: sessions can start from it.
const ConditionValid = "Valid"

// Reasons of conditions.
const (
	// ReasonAsExpected: the good state.
	ReasonAsExpected = "AsExpected"
	// ReasonProgressing: on its way; nothing to do.
	ReasonProgressing = "Progressing"
	// ReasonWaiting: something outside is awaited; see status.waitingFor.
	ReasonWaiting = "Waiting"
	// ReasonSuspended: stopped as asked.
	ReasonSuspended = "Suspended"
	// ReasonTerminating: being deleted.
	ReasonTerminating = "Terminating"
	// ReasonUnknown: it could not be read.
	ReasonUnknown = "Unknown"

	// ReasonInvalidUser: spec.user is not in Unicode NFC or not printable.
	ReasonInvalidUser = "InvalidUser"
	// ReasonTemplateNotFound: no VDITemplate has that name.
	ReasonTemplateNotFound = "TemplateNotFound"
	// ReasonTemplateNotAllowed: the template's spec.access names neither the user nor one of their groups.
	ReasonTemplateNotAllowed = "TemplateNotAllowed"
	// ReasonInvalidValues: the values given to the session chart are refused; the message names the path.
	ReasonInvalidValues = "InvalidValues"
	// ReasonInvalidResources: a size is no quantity or outside the template's bounds.
	ReasonInvalidResources = "InvalidResources"
	// ReasonGPUCountNotSliceable: more than one slice of a shared GPU was asked for.
	ReasonGPUCountNotSliceable = "GPUCountNotSliceable"
	// ReasonEncoderMissing: a template demands NVENC where nodes are not known to have it.
	ReasonEncoderMissing = "EncoderMissing"
	// ReasonNotOffered: no node of the cluster offers what is asked for.
	ReasonNotOffered = "NotOffered"
	// ReasonRefusedByGuard: the rendered objects break a rule of the platform.
	ReasonRefusedByGuard = "RefusedByGuard"
	// ReasonInvalidHost: the host template gives no valid DNS name for this session.
	ReasonInvalidHost = "InvalidHost"
	// ReasonHostInUse: another live session has this host.
	ReasonHostInUse = "HostInUse"
	// ReasonHostOfAnotherUser: the host belongs to another person for good.
	ReasonHostOfAnotherUser = "HostOfAnotherUser"

	// ReasonDisabled: switched off by the spec.
	ReasonDisabled = "Disabled"
	// ReasonHomeOfAnotherUser: the claim belongs to another identity.
	ReasonHomeOfAnotherUser = "HomeOfAnotherUser"
	// ReasonHomeNotOurs: a claim of the expected name was not made by the operator.
	ReasonHomeNotOurs = "HomeNotOurs"
	// ReasonHomeNotFound: the existing claim does not exist.
	ReasonHomeNotFound = "HomeNotFound"
	// ReasonClaimNotAllowed: the template mounts a claim that no administrator has given to desktops.
	ReasonClaimNotAllowed = "ClaimNotAllowed"
	// ReasonHomeInUse: another pod uses the home.
	ReasonHomeInUse = "HomeInUse"
	// ReasonHomeShrinkRefused: a volume cannot shrink.
	ReasonHomeShrinkRefused = "HomeShrinkRefused"
	// ReasonHomeGrowthRefused: the cluster does not let the volume grow.
	ReasonHomeGrowthRefused = "HomeGrowthRefused"

	// ReasonHomeLeaving: somebody has deleted the claim, which goes when the desktop stops.
	ReasonHomeLeaving = "HomeLeaving"
	// ReasonHomeMissing: the claim is gone from under a desktop that runs.
	ReasonHomeMissing = "HomeMissing"
	// ReasonHomeLost: the claim has lost its volume.
	ReasonHomeLost = "HomeLost"
	// ReasonHomeReplaced: the claim that the session had is gone, and this is another one.
	ReasonHomeReplaced = "HomeReplaced"
	// ReasonHomeDiffers: the claim has another class or access mode than is asked for now.
	ReasonHomeDiffers = "HomeDiffers"

	// ReasonNotPrepared: something that the desktop needs on its node is missing or
	// refused, such as a volume.
	ReasonNotPrepared = "NotPrepared"
	// ReasonUnschedulable: no node fits at present.
	ReasonUnschedulable = "Unschedulable"
	// ReasonImagePull: the image cannot be pulled.
	ReasonImagePull = "ImagePull"
	// ReasonCrashLoop: the desktop keeps ending.
	ReasonCrashLoop = "CrashLoop"
	// ReasonEvicted: the desktop has to leave its node (a drain, a lost node,
	// room for others); it starts again elsewhere with its home.
	ReasonEvicted = "Evicted"
	// ReasonPodDeleted: somebody other than the operator deleted the desktop's pod.
	ReasonPodDeleted = "PodDeleted"
	// ReasonPodFailed: the pod ended.
	ReasonPodFailed = "PodFailed"

	// ReasonRelayNotConfigured: the template streams over WebRTC and the
	// platform's settings name no TURN relay.
	ReasonRelayNotConfigured = "RelayNotConfigured"
	// ReasonRelaySecretMissing: the shared secret of the TURN relay is not there or not usable.
	ReasonRelaySecretMissing = "RelaySecretMissing"

	// ReasonRouteKindMissing: the proxy's IngressRoute kind is not installed.
	ReasonRouteKindMissing = "RouteKindMissing"
	// ReasonFrontDoorKeysMissing: the front door has not published the keys by which a
	// desktop knows its visitors (access modes OIDC and Local).
	ReasonFrontDoorKeysMissing = "FrontDoorKeysMissing"
	// ReasonRouteNotAnswering: the proxy does not answer for this host yet.
	ReasonRouteNotAnswering = "RouteNotAnswering"
	// ReasonNotVerified: sessions.verifyRoute is off, so nobody asked the proxy.
	ReasonNotVerified = "NotVerified"

	// ReasonQuotaExceeded: a VDIQuota leaves no room for the session, or a ResourceQuota
	// denies a child.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonQueued: it waits for room in a VDIQuota or in the cluster; see status.queue.
	ReasonQueued = "Queued"
	// ReasonDenied: Pod Security, a LimitRange or an admission policy denies a child.
	ReasonDenied = "Denied"
	// ReasonNameTaken: see NameConflict.
	ReasonNameTaken = "NameTaken"

	// ReasonTimeout: the timeout is near.
	ReasonTimeout = "Timeout"
	// ReasonIdle: nobody has used the desktop for a while.
	ReasonIdle = "Idle"
	// ReasonBudget: the GPU-hours of a VDIQuota are nearly used up.
	ReasonBudget = "Budget"
	// ReasonDrain: an administrator frees the node that the desktop runs on.
	ReasonDrain = "Drain"
	// ReasonTooLong: a start, a failure or a suspension has taken too long.
	ReasonTooLong = "TooLong"
	// ReasonNewRevision: template, platform settings or operator changed since the desktop started.
	ReasonNewRevision = "NewRevision"
)
