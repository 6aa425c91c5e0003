// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// Checks of signals, queries and visibility.
func init() {
	register(map[string]func(*check){
		"signals":            signals,
		"signal_buffered":    signalBuffered,
		"signal_with_start":  signalWithStart,
		"signal_closed":      signalClosed,
		"query_running":      queryRunning,
		"query_during_task":  queryDuringTask,
		"query_closed":       queryClosed,
		"query_failing":      queryFailing,
		"query_rejected":     queryRejected,
		"list_count":         listCount,
		"search_type_status": searchTypeStatus,
		"search_bad_query":   searchBadQuery,
		"memo":               memoCheck,
	})
}

func waitFor(n int) step {
	return step{Op: "wait", N: n}
}

func signals(k *check) {
	values := []any{}
	for i := range 19 {
		values = append(values, i)
	}
	values = append(values, m{"last": "ü"})
	run := k.start(waitFor(len(values)))
	for _, value := range values {
		k.note(run, value)
	}
	equal("notes", k.result(run).Notes, values)
	inHistory := []any{}
	for _, event := range k.history(run) {
		if signaled := event.GetWorkflowExecutionSignaledEventAttributes(); signaled != nil {
			equal("name", signaled.SignalName, "note")
			inHistory = append(inHistory, decode(signaled.Input))
		}
	}
	equal("in history", inHistory, values)
}

// Signals that arrive while a workflow task is in progress are kept, in order.
func signalBuffered(k *check) {
	run := k.start(waitFor(1), act("nap", m{"ms": 1500}).locally(), waitFor(11))
	want := []int{}
	for value := range 11 {
		k.note(run, value)
		want = append(want, value)
	}
	equal("notes", k.result(run).Notes, want)
}

func signalWithStart(k *check) {
	withStart := func(value string, steps ...step) client.WorkflowRun {
		opts := startOptions{ID: k.prefix, TaskQueue: k.queue}
		return need(k.c.SignalWithStartWorkflow(k.ctx, k.prefix, "note", value, opts, "Script", script(steps)))
	}
	first := withStart("one", waitFor(2))
	second := withStart("two", waitFor(2))
	equal("run", second.GetRunID(), first.GetRunID())
	equal("notes", k.result(first).Notes, []any{"one", "two"})
	equal("start of history", kinds(k.history(first))[:2],
		[]string{"WorkflowExecutionStarted", "WorkflowExecutionSignaled"})
	third := withStart("three", waitFor(1))
	yes("a closed run makes way for a new one", third.GetRunID() != first.GetRunID())
	equal("notes", k.result(third).Notes, []any{"three"})
}

func signalClosed(k *check) {
	run := k.start()
	k.result(run)
	notFound("closed", k.c.SignalWorkflow(k.ctx, k.prefix, "", "note", 1))
	notFound("missing", k.c.SignalWorkflow(k.ctx, k.prefix+"-missing", "", "note", 1))
}

func (k *check) pick(run client.WorkflowRun, i int) any {
	var out any
	must(need(k.c.QueryWorkflow(k.ctx, run.GetID(), run.GetRunID(), "pick", i)).Get(&out))
	return out
}

func queryRunning(k *check) {
	run := k.start(act("echo", m{"a": 1}), waitFor(2))
	k.note(run, "x")
	want := plain(m{"notes": []any{"x"}, "results": []any{m{"a": 1}}})
	k.until(func() bool { return short(plain(k.query(run))) == short(want) })
	equal("query with an argument", k.pick(run, 0), m{"a": 1})
	before := len(k.history(run))
	k.query(run)
	equal("number of events", len(k.history(run)), before)
	k.note(run, "y")
	k.result(run)
}

// A query sees what was acknowledged before it, also when a workflow task is in progress.
func queryDuringTask(k *check) {
	run := k.start(waitFor(1), act("nap", m{"ms": 1500}).locally(), waitFor(3))
	k.note(run, 1)
	equal("first", k.query(run).Notes, []int{1})
	k.note(run, 2)
	equal("second", k.query(run).Notes, []int{1, 2})
	k.note(run, 3)
	equal("notes", k.result(run).Notes, []int{1, 2, 3})
	equal("afterwards", k.query(run).Notes, []int{1, 2, 3})
}

func queryClosed(k *check) {
	run := k.start(act("echo", 7))
	k.result(run)
	equal("cached", k.query(run), m{"notes": []any{}, "results": []any{7}})
	other := k.startWith("-replay", startOptions{TaskQueue: k.nocache}, act("echo", 8))
	k.result(other)
	equal("replayed", k.query(other), m{"notes": []any{}, "results": []any{8}})
	equal("result", k.pick(other, 0), 8)
}

func queryFailing(k *check) {
	run := k.start(waitFor(1))
	_, err := k.c.QueryWorkflow(k.ctx, k.prefix, "", "explode")
	failed := raised[*serviceerror.QueryFailed](err)
	yes(fmt.Sprintf("the handler's message, not %v", failed), strings.Contains(failed.Error(), "query exploded"))
	_, err = k.c.QueryWorkflow(k.ctx, k.prefix, "", "nothing-like-that")
	failed = raised[*serviceerror.QueryFailed](err)
	yes(fmt.Sprintf("names the query type: %v", failed), strings.Contains(failed.Error(), "nothing-like-that"))
	_, err = k.c.QueryWorkflow(k.ctx, k.prefix+"-missing", "", "state")
	notFound("missing", err)
	k.note(run, "unharmed")
	equal("notes", k.result(run).Notes, []any{"unharmed"})
}

func (k *check) queryUnless(tail string, condition enumspb.QueryRejectCondition) *client.QueryWorkflowWithOptionsResponse {
	return need(k.c.QueryWorkflowWithOptions(k.ctx, &client.QueryWorkflowWithOptionsRequest{
		WorkflowID: k.prefix + tail, QueryType: "state", QueryRejectCondition: condition}))
}

func queryRejected(k *check) {
	k.run()
	got := k.queryUnless("", enumspb.QUERY_REJECT_CONDITION_NOT_OPEN)
	equal("status", got.QueryRejected.GetStatus().String(), "Completed")
	k.failure(k.startWith("-failed", startOptions{}, step{Op: "fail", Type: "X", Message: "x"}))
	unclean := enumspb.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
	equal("status", k.queryUnless("-failed", unclean).QueryRejected.GetStatus().String(), "Failed")
	got = k.queryUnless("", unclean)
	yes("a clean one is answered", got.QueryRejected == nil)
	var state scriptState
	must(got.QueryResult.Get(&state))
	equal("clean", state.Notes, []any{})
}

func (k *check) list(query string, page int32) []*workflowpb.WorkflowExecutionInfo {
	var all []*workflowpb.WorkflowExecutionInfo
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: page}
	for {
		answer := need(k.c.ListWorkflow(k.ctx, request))
		all = append(all, answer.Executions...)
		if len(answer.NextPageToken) == 0 {
			return all
		}
		request.NextPageToken = answer.NextPageToken
	}
}

// listed is the list once it is as long as wanted: visibility may be late.
func (k *check) listed(query string, want int) []*workflowpb.WorkflowExecutionInfo {
	var found []*workflowpb.WorkflowExecutionInfo
	k.until(func() bool { found = k.list(query, 2); return len(found) == want })
	return found
}

func (k *check) counted(query string, want int64) {
	request := &workflowservice.CountWorkflowExecutionsRequest{Query: query}
	k.until(func() bool { return need(k.c.CountWorkflow(k.ctx, request)).Count == want })
}

func listCount(k *check) {
	mine := fmt.Sprintf("WorkflowId STARTS_WITH '%s-'", k.prefix)
	var open []client.WorkflowRun
	runs := []string{}
	for i := range 3 {
		open = append(open, k.startWith(fmt.Sprintf("-open%d", i), startOptions{}, waitFor(1)))
		runs = append(runs, open[i].GetRunID())
	}
	for i := range 2 {
		k.result(k.startWith(fmt.Sprintf("-done%d", i), startOptions{}))
	}
	ids := []string{}
	for _, w := range k.listed(mine, 5) {
		ids = append(ids, strings.TrimPrefix(w.Execution.WorkflowId, k.prefix+"-"))
	}
	sort.Strings(ids)
	equal("ids", ids, []string{"done0", "done1", "open0", "open1", "open2"})
	for _, w := range k.listed(mine+" AND ExecutionStatus='Running'", 3) {
		yes("an open run", slices.Contains(runs, w.Execution.RunId))
		yes("open ones have no close time", w.CloseTime == nil)
	}
	k.counted(mine+" AND ExecutionStatus='Completed'", 2)
	k.counted(mine+" AND ExecutionStatus='Failed'", 0)
	k.counted(fmt.Sprintf("WorkflowId='%s-open1'", k.prefix), 1)
	for _, run := range open {
		k.note(run, 0)
		k.result(run)
	}
	k.counted(mine+" AND ExecutionStatus='Running'", 0)
	k.counted(mine+" AND ExecutionStatus='Completed'", 5)
}

func searchTypeStatus(k *check) {
	for i := range 2 {
		opts := startOptions{ID: fmt.Sprintf("%s-%d", k.prefix, i), TaskQueue: k.queue}
		run := need(k.c.ExecuteWorkflow(k.ctx, opts, "Short", shortArg{int64(i), 1}))
		var got shortResult
		must(run.Get(k.ctx, &got))
		equal("result", got, shortResult{int64(i), int64(i * i), 1})
	}
	k.result(k.startWith("-other-type", startOptions{}))
	var mine []*workflowpb.WorkflowExecutionInfo
	k.until(func() bool {
		mine = nil
		for _, w := range k.list("WorkflowType='Short' AND ExecutionStatus='Completed'", 1000) {
			equal("type and status", []string{w.Type.Name, w.Status.String()}, []string{"Short", "Completed"})
			if strings.HasPrefix(w.Execution.WorkflowId, k.prefix) {
				mine = append(mine, w)
			}
		}
		return len(mine) == 2
	})
	for _, w := range mine {
		yes("close time after start time", !w.CloseTime.AsTime().Before(w.StartTime.AsTime()))
		equal("task queue", w.TaskQueue, k.queue)
		yes("history length", w.HistoryLength >= 10)
	}
}

func searchBadQuery(k *check) {
	_, err := k.c.CountWorkflow(k.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "Nonsense ==== 'x"})
	raised[*serviceerror.InvalidArgument](err)
}

func memoOf(w *workflowpb.WorkflowExecutionInfo) m {
	out := m{}
	for key, value := range w.Memo.GetFields() {
		var decoded any
		must(json.Unmarshal(value.Data, &decoded))
		out[key] = decoded
	}
	return out
}

func memoCheck(k *check) {
	want := m{"text": "ä", "nested": m{"list": []any{1, nil}}, "number": 5}
	run := k.startWith("", startOptions{Memo: want}, waitFor(1))
	equal("described", memoOf(k.describeRun("", "")), want)
	equal("listed", memoOf(k.listed(fmt.Sprintf("WorkflowId='%s'", k.prefix), 1)[0]), want)
	equal("fields in history", len(started(k.history(run)).Memo.GetFields()), len(want))
	k.note(run, 0)
	k.result(run)
}
