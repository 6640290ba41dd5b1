-- SPDX-License-Identifier: Apache-2.0
-- wrk's part of the benchmark: a chat request of 2 KB, and the figures as one line of JSON.
local filler = string.rep("All work and no play makes a dull benchmark. ", 42)
local body = '{"model":"bench","messages":[{"role":"system","content":"You count."},' ..
    '{"role":"user","content":"' .. filler .. '"}],"temperature":0,"seed":42,"n_predict":64}'

wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = body
wrk.headers["Content-Type"] = "application/json"

function init(args)
    for i = 1, #args, 2 do
        wrk.headers[args[i]] = args[i + 1]
    end
end

function done(summary, latency)
    io.write(string.format('{"requests":%d,"bytes":%d,"us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
