// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/temporal"
)

// Checks of activities, local activities and asynchronous completion.
func init() {
	register(map[string]func(*check){
		"activity_payload":                   activityPayload,
		"activity_retry":                     activityRetry,
		"activity_retries_exhausted":         activityRetriesExhausted,
		"activity_nonretryable":              activityNonretryable,
		"activity_nonretryable_type":         activityNonretryableType,
		"activity_heartbeat_resume":          activityHeartbeatResume,
		"activity_timeout_start_to_close":    activityTimeoutStartToClose,
		"activity_timeout_heartbeat":         activityTimeoutHeartbeat,
		"activity_timeout_schedule_to_start": activityTimeoutScheduleToStart,
		"activity_timeout_schedule_to_close": activityTimeoutScheduleToClose,
		"activity_cancel":                    activityCancel,
		"activity_cancel_unstarted":          activityCancelUnstarted,
		"async_complete_token":               asyncCompleteToken,
		"async_complete_id":                  asyncCompleteID,
		"async_fail_id":                      asyncFailID,
		"local_activity":                     localActivity,
		"local_activity_retry":               localActivityRetry,
		"local_activity_long":                localActivityLong,
		"large_payload":                      largePayload,
		"describe_pending_activity":          describePendingActivity,
	})
}

type m = map[string]any

var payload = m{
	"text": "zażółć 漢字 \U0001f642 \"quoted\" \\ \n\t",
	"int":  1 << 40, "negative": -1, "float": 1.5, "yes": true, "nothing": nil,
	"list": []any{1, []any{2, m{"x": "y"}}}, "empty": m{},
}

func act(name string, arg any) step {
	return step{Op: "act", Name: name, Arg: arg}
}

func (s step) with(o activityOpts) step { s.Opts = o; return s }
func (s step) caught() step             { s.Catch = true; return s }
func (s step) locally() step            { s.Local = true; return s }
func (s step) op(name string) step      { s.Op = name; return s }

// at follows keys into nested maps.
func at(value any, path ...string) any {
	for _, key := range path {
		inside, ok := value.(map[string]any)
		if !ok {
			fail("no %q in %s", key, short(value))
		}
		value = inside[key]
	}
	return value
}

func single(values []any) any {
	equal("number of results", len(values), 1)
	return values[0]
}

// pending is the one pending activity of the check's workflow, or nil.
func (k *check) pending() *workflowpb.PendingActivityInfo {
	all := need(k.c.DescribeWorkflowExecution(k.ctx, k.prefix, "")).PendingActivities
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func beat(activity *workflowpb.PendingActivityInfo) any {
	if activity == nil || len(activity.HeartbeatDetails.GetPayloads()) == 0 {
		return nil
	}
	return decode(activity.HeartbeatDetails)
}

func activityPayload(k *check) {
	run := k.start(act("echo", payload))
	equal("result", single(k.results(run)), payload)
	events := k.history(run)
	scheduled := one(events, "ActivityTaskScheduled").GetActivityTaskScheduledEventAttributes()
	equal("activity type", scheduled.ActivityType.Name, "echo")
	equal("encoding", string(scheduled.Input.Payloads[0].Metadata["encoding"]), "json/plain")
	equal("input in history", decode(scheduled.Input), payload)
	done := one(events, "ActivityTaskCompleted").GetActivityTaskCompletedEventAttributes()
	equal("result in history", decode(done.Result), payload)
	equal("scheduled event", kinds(events)[done.ScheduledEventId-1], "ActivityTaskScheduled")
	equal("started event", kinds(events)[done.StartedEventId-1], "ActivityTaskStarted")
}

func activityRetry(k *check) {
	run := k.start(act("failUntil", m{"attempt": 3}))
	equal("result", single(k.results(run)), m{"attempt": 3})
	started := one(k.history(run), "ActivityTaskStarted").GetActivityTaskStartedEventAttributes()
	equal("attempt", started.Attempt, 3)
	equal("last failure", started.LastFailure.GetMessage(), "attempt 2 fails")
}

func activityRetriesExhausted(k *check) {
	got := single(k.run(act("failUntil", m{"attempt": 99}).with(activityOpts{Max: 2}).caught()))
	equal("kind", []any{at(got, "kind"), at(got, "retry")}, []any{"activity", "MaximumAttemptsReached"})
	equal("cause", []any{at(got, "cause", "kind"), at(got, "cause", "type")}, []any{"application", "Flaky"})
	equal("message", at(got, "cause", "message"), "attempt 2 fails")
}

func activityNonretryable(k *check) {
	failing := m{"type": "Fatal", "message": "never", "details": []any{1, "two"}, "nonRetryable": true}
	got := single(k.run(act("fail", failing).caught()))
	equal("kind", []any{at(got, "kind"), at(got, "retry")}, []any{"activity", "NonRetryableFailure"})
	equal("activity", at(got, "activity"), "fail")
	failing["kind"] = "application"
	equal("cause", at(got, "cause"), failing)
}

func activityNonretryableType(k *check) {
	failing := act("fail", m{"type": "Typed", "message": "by type", "details": []any{}})
	run := k.start(failing.with(activityOpts{NonRetryable: []string{"Typed"}}).caught())
	got := single(k.results(run))
	equal("kind", []any{at(got, "kind"), at(got, "retry")}, []any{"activity", "NonRetryableFailure"})
	equal("cause", []any{at(got, "cause", "type"), at(got, "cause", "message")}, []any{"Typed", "by type"})
	started := one(k.history(run), "ActivityTaskStarted").GetActivityTaskStartedEventAttributes()
	equal("attempt", started.Attempt, 1)
}

func activityHeartbeatResume(k *check) {
	got := single(k.run(act("resume", m{"steps": 3}).with(activityOpts{Hb: 5000})))
	equal("result", got, m{"resumed": 3, "attempt": 2})
}

func (k *check) timedOut(tail string, s step) any {
	got := single(k.results(k.startWith(tail, startOptions{}, s.caught())))
	equal("kind", []any{at(got, "kind"), at(got, "cause", "kind")}, []any{"activity", "timeout"})
	return got
}

func activityTimeoutStartToClose(k *check) {
	got := k.timedOut("", act("nap", m{"ms": 3000}).with(activityOpts{Stc: 300, Max: 1}))
	equal("timeout", at(got, "cause", "timeout"), "StartToClose")
	equal("retry", at(got, "retry"), "MaximumAttemptsReached")
}

func activityTimeoutHeartbeat(k *check) {
	napping := act("nap", m{"ms": 3000, "beats": 1})
	got := k.timedOut("", napping.with(activityOpts{Hb: 500, Max: 1}))
	equal("timeout", at(got, "cause", "timeout"), "Heartbeat")
	equal("details", at(got, "cause", "details"), []any{m{"beat": 1}})
}

func activityTimeoutScheduleToStart(k *check) {
	got := k.timedOut("", act("echo", 1).with(activityOpts{Sts: 300, Queue: k.nobody}))
	equal("timeout", at(got, "cause", "timeout"), "ScheduleToStart")
}

// No retry that would begin after the deadline: it ends at once, with the last failure.
func activityTimeoutScheduleToClose(k *check) {
	failing := act("failUntil", m{"attempt": 9}).with(activityOpts{S2c: 2000, Backoff: 60_000})
	got := single(k.run(failing.caught()))
	equal("kind", []any{at(got, "kind"), at(got, "retry")}, []any{"activity", "Timeout"})
	equal("cause", at(got, "cause", "message"), "attempt 1 fails")
	got = k.timedOut("-nap", act("nap", m{"ms": 3000}).with(activityOpts{S2c: 300}))
	equal("timeout", at(got, "cause", "timeout"), "ScheduleToClose")
}

func activityCancel(k *check) {
	napping := act("nap", m{"ms": 60_000, "beats": -1}).with(activityOpts{Stc: 90_000, Hb: 5000})
	run := k.start(napping.op("actCancel").caught())
	k.until(func() bool { return beat(k.pending()) != nil })
	k.note(run, "go")
	got := single(k.results(run))
	equal("kind", []any{at(got, "kind"), at(got, "cause", "kind")}, []any{"activity", "canceled"})
	events := k.history(run)
	asked := one(events, "ActivityTaskCancelRequested").GetActivityTaskCancelRequestedEventAttributes()
	ended := one(events, "ActivityTaskCanceled").GetActivityTaskCanceledEventAttributes()
	equal("scheduled event", asked.ScheduledEventId, ended.ScheduledEventId)
	yes("the activity had started", has(events, "ActivityTaskStarted"))
}

func activityCancelUnstarted(k *check) {
	waiting := act("echo", 1).with(activityOpts{Queue: k.nobody})
	run := k.start(waiting.op("actCancel").caught())
	k.until(func() bool { return k.pending() != nil })
	k.note(run, "go")
	got := single(k.results(run))
	equal("kind", []any{at(got, "kind"), at(got, "cause", "kind")}, []any{"activity", "canceled"})
	events := k.history(run)
	one(events, "ActivityTaskCanceled")
	yes("the activity never started", !has(events, "ActivityTaskStarted"))
}

// waitingToken is what the `later` activity told about itself, once the server knows it.
func (k *check) waitingToken() (token []byte, activityID string) {
	var told any
	k.until(func() bool { told = beat(k.pending()); return told != nil })
	return need(base64.StdEncoding.DecodeString(at(told, "token").(string))),
		at(told, "activityId").(string)
}

func asyncCompleteToken(k *check) {
	run := k.start(act("later", nil).with(activityOpts{Hb: 30_000}))
	token, _ := k.waitingToken()
	must(k.c.RecordActivityHeartbeat(k.ctx, token, m{"from": "outside"}))
	equal("details", beat(k.pending()), m{"from": "outside"})
	must(k.c.CompleteActivity(k.ctx, token, m{"by": "token"}, nil))
	equal("result", k.results(run), []any{m{"by": "token"}})
}

func asyncCompleteID(k *check) {
	run := k.start(act("later", nil).with(activityOpts{Hb: 30_000}))
	_, id := k.waitingToken()
	must(k.c.RecordActivityHeartbeatByID(k.ctx, k.namespace, run.GetID(), "", id, m{"from": "id"}))
	equal("details", beat(k.pending()), m{"from": "id"})
	must(k.c.CompleteActivityByID(k.ctx, k.namespace, run.GetID(), "", id, m{"by": "id"}, nil))
	equal("result", k.results(run), []any{m{"by": "id"}})
}

func asyncFailID(k *check) {
	run := k.start(act("later", nil).caught())
	_, id := k.waitingToken()
	failure := temporal.NewNonRetryableApplicationError("from outside", "Remote", nil)
	must(k.c.CompleteActivityByID(k.ctx, k.namespace, run.GetID(), run.GetRunID(), id, nil, failure))
	got := single(k.results(run))
	equal("kind", []any{at(got, "kind"), at(got, "retry")}, []any{"activity", "NonRetryableFailure"})
	equal("cause", []any{at(got, "cause", "type"), at(got, "cause", "message")},
		[]any{"Remote", "from outside"})
}

func localActivity(k *check) {
	run := k.start(act("echo", payload).locally())
	equal("result", k.results(run), []any{payload})
	events := k.history(run)
	one(events, "MarkerRecorded")
	yes("nothing was scheduled", !has(events, "ActivityTaskScheduled"))
}

func localActivityRetry(k *check) {
	run := k.start(act("failUntil", m{"attempt": 3}).locally())
	equal("result", k.results(run), []any{m{"attempt": 3}})
	one(k.history(run), "MarkerRecorded")
}

// Longer than the workflow task's timeout: the worker keeps the task alive.
func localActivityLong(k *check) {
	opts := startOptions{WorkflowTaskTimeout: 2 * time.Second}
	run := k.startWith("", opts, act("nap", m{"ms": 5000}).locally())
	equal("result", k.results(run), []any{m{"slept": 5000}})
	events := k.history(run)
	yes("no workflow task timed out", !has(events, "WorkflowTaskTimedOut"))
	yes("several workflow tasks", count(events, "WorkflowTaskCompleted") >= 2)
}

func largePayload(k *check) {
	var text strings.Builder
	for i := range 1_000_000 {
		text.WriteByte(byte('a' + i*7%26))
	}
	got := single(k.run(act("echo", text.String())))
	yes("1 MB comes back unchanged", got == text.String())
}

func describePendingActivity(k *check) {
	failing := act("failUntil", m{"attempt": 9}).with(activityOpts{Backoff: 60_000, Max: 7})
	run := k.start(failing)
	var got *workflowpb.PendingActivityInfo
	k.until(func() bool { got = k.pending(); return got.GetAttempt() == 2 })
	equal("state", got.State.String(), enumspb.PENDING_ACTIVITY_STATE_SCHEDULED.String())
	equal("type", got.ActivityType.Name, "failUntil")
	equal("maximum attempts", got.MaximumAttempts, 7)
	equal("last failure", got.LastFailure.GetMessage(), "attempt 1 fails")
	wait := got.NextAttemptScheduleTime.AsTime().Sub(got.LastAttemptCompleteTime.AsTime())
	yes(fmt.Sprintf("next attempt in a minute, not %v", wait), wait > 59*time.Second && wait < 61*time.Second)
	must(k.c.TerminateWorkflow(k.ctx, run.GetID(), run.GetRunID(), "checked"))

	run = k.start(act("nap", m{"ms": 60_000, "beats": -1}).with(activityOpts{Stc: 90_000, Hb: 5000}))
	k.until(func() bool { got = k.pending(); return beat(got) != nil })
	equal("state", got.State.String(), enumspb.PENDING_ACTIVITY_STATE_STARTED.String())
	equal("attempt", got.Attempt, 1)
	yes("heartbeat details", at(beat(got), "beat").(float64) >= 1)
	yes("heartbeat time", got.LastHeartbeatTime.AsTime().Unix() > 0)
	must(k.c.TerminateWorkflow(k.ctx, run.GetID(), run.GetRunID(), "checked"))
}
