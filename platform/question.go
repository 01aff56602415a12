package platform

// QuestionHeader is in the operator's question to the proxy whether a session's route is
// up. Its value is the session's UID, which strangers do not know: where it is right, the
// front door says that it answers in the desktop's place, which others do not learn.
const QuestionHeader = "X-Vdi-Question"

// RouteQuestion is that question.
type RouteQuestion struct{ Host, Path, SessionUID string }
