"""What must not be torn apart in Redis: each script runs as a whole, and nothing runs beside it. Used by `store_redis.py` alone.

Arguments come in ARGV only, keys are made here: one server, not a cluster. Numbers pass through as text: Lua would round them.
"""

CHANGE_CALL = """
local sid, old, new, caller, age = unpack(ARGV, 1, 5)
local call = 'triode:call:' .. sid
if (redis.call('HGET', call, 'document') or '') ~= old then return 0 end
local before = redis.call('HGET', call, 'caller')
redis.call('HSET', call, 'document', new, 'caller', caller)  -- first: a script that began to write is not stopped by full memory
if before ~= caller then
  redis.call('SREM', 'triode:calls_of:' .. (before or ''), sid)
  redis.call('SADD', 'triode:calls_of:' .. caller, sid)
end
if age ~= '' then redis.call('ZADD', 'triode:calls', age, sid) end
for i = 6, #ARGV do redis.call('RPUSH', 'triode:turns:' .. sid, ARGV[i]) end
return 1
"""
READ_CALL = """
local sid, errands, recordings = ARGV[1], {}, {}
for i, key in ipairs(redis.call('LRANGE', 'triode:errands:' .. sid, 0, -1)) do
  errands[i] = redis.call('HGETALL', 'triode:errand:' .. key)
end
for i, key in ipairs(redis.call('LRANGE', 'triode:recordings:' .. sid, 0, -1)) do
  recordings[i] = redis.call('HGETALL', 'triode:recording:' .. key)
end
return {redis.call('HGET', 'triode:call:' .. sid, 'document'), redis.call('LRANGE', 'triode:turns:' .. sid, 0, -1),
  redis.call('HGET', 'triode:story:' .. sid, 'story'), errands, recordings}
"""
KEEP_RECORDING = """
local key, sid, url, seconds, status, now = unpack(ARGV)
if redis.call('EXISTS', 'triode:forgotten:' .. sid) == 1 then return end
local recording = 'triode:recording:' .. key
local before, at, known = unpack(redis.call('HMGET', recording, 'call_sid', 'at', 'status'))
if known == 'completed' then return end
if before ~= sid then
  if before then redis.call('LREM', 'triode:recordings:' .. before, 0, key) end
  redis.call('RPUSH', 'triode:recordings:' .. sid, key)
end
redis.call('HSET', recording, 'recording_sid', key, 'call_sid', sid, 'url', url, 'seconds', seconds, 'status', status,
  'at', at or now)
"""
KEEP_STORY = """
local sid, both, story, over, updated, late = unpack(ARGV)
local before = redis.call('HGET', 'triode:story:' .. sid, 'both')
local kept = before and redis.call('ZSCORE', 'triode:stories:' .. before, sid)
if late == '1' and kept and tonumber(kept) > tonumber(updated) then return end
if before then redis.call('ZREM', 'triode:stories:' .. before, sid) end
redis.call('HSET', 'triode:story:' .. sid, 'both', both, 'story', story, 'over', over)
redis.call('ZADD', 'triode:stories:' .. both, updated, sid)
"""
UNFINISHED = """
local newest = redis.call('ZRANGE', 'triode:stories:' .. ARGV[1], 0, 0, 'REV', 'WITHSCORES')
if #newest == 0 or tonumber(newest[2]) < tonumber(ARGV[2]) then return false end
return redis.call('HGET', 'triode:story:' .. newest[1], 'over') == '0' and newest[1]
"""
TAKE_UNFINISHED = """
local newest = redis.call('ZRANGE', 'triode:stories:' .. ARGV[1], 0, 0, 'REV', 'WITHSCORES')
if #newest == 0 or tonumber(newest[2]) < tonumber(ARGV[2]) then return false end
local over, story = unpack(redis.call('HMGET', 'triode:story:' .. newest[1], 'over', 'story'))
if over ~= '0' then return false end
redis.call('HSET', 'triode:story:' .. newest[1], 'over', 1)
return story
"""
CLAIM_ERRAND = """
local key, sid, name, begun = unpack(ARGV)
local known = redis.call('HGETALL', 'triode:errand:' .. key)
if #known > 0 then return known end
redis.call('HSET', 'triode:errand:' .. key, 'key', key, 'call_sid', sid, 'name', name, 'status', 'begun', 'reference', '',
  'detail', '{}', 'begun', begun)
redis.call('RPUSH', 'triode:errands:' .. sid, key)
redis.call('ZADD', 'triode:open:' .. name, begun, key)
return false
"""
READ_ERRAND = "return redis.call('HGETALL', 'triode:errand:' .. ARGV[1])"
CHANGE_ERRAND = """
local key, was, before, knew, status, reference, detail, open = unpack(ARGV)
local now = redis.call('HMGET', 'triode:errand:' .. key, 'status', 'reference', 'detail', 'name')
if now[1] ~= was or now[2] ~= before or now[3] ~= knew then return 0 end
if before ~= reference and before ~= '' then redis.call('DEL', 'triode:reference:' .. before) end
if reference ~= '' then redis.call('SET', 'triode:reference:' .. reference, key) end
redis.call('HSET', 'triode:errand:' .. key, 'status', status, 'reference', reference, 'detail', detail)
if open == '0' then redis.call('ZREM', 'triode:open:' .. now[4], key) end
return 1
"""
OPEN_ERRANDS = """
local found = {}
for i, key in ipairs(redis.call('ZRANGE', 'triode:open:' .. ARGV[1], ARGV[2], '+inf', 'BYSCORE')) do
  found[i] = redis.call('HGETALL', 'triode:errand:' .. key)
end
return found
"""
ERRAND_BY_REFERENCE = """
local key = redis.call('GET', 'triode:reference:' .. ARGV[1])
return key and redis.call('HGETALL', 'triode:errand:' .. key)
"""
ERRANDS = """
local found = {}
for i, key in ipairs(redis.call('LRANGE', 'triode:errands:' .. ARGV[1], 0, -1)) do
  found[i] = redis.call('HGETALL', 'triode:errand:' .. key)
end
return found
"""
CLAIM_TEXT = """
local number, errand, now, before, most, day = unpack(ARGV)
local texts = 'triode:texts:' .. number
redis.call('ZREMRANGEBYSCORE', texts, '-inf', before)
if redis.call('ZSCORE', texts, errand) then return 1 end
if redis.call('ZCARD', texts) >= tonumber(most) then return 0 end
redis.call('ZADD', texts, now, errand)
redis.call('EXPIRE', texts, day)
return 1
"""
PROMISE_DELIVERY = """
if redis.call('HSETNX', 'triode:delivery:' .. ARGV[1], 'state', 'open') == 0 then return end
redis.call('HSET', 'triode:delivery:' .. ARGV[1], 'tries', 0, 'error', '', 'at', 0)
redis.call('ZADD', 'triode:deliveries:open', ARGV[2], ARGV[1])
"""
HASTEN_DELIVERY = """
if redis.call('HGET', 'triode:delivery:' .. ARGV[1], 'tries') ~= '0' then return end
redis.call('ZADD', 'triode:deliveries:open', 'XX', 'LT', ARGV[2], ARGV[1])
"""
TAKE_DELIVERIES = """
local now, leased, limit = unpack(ARGV)
local ready = redis.call('ZRANGE', 'triode:deliveries:open', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
local taken = {}
for i = 1, #ready, 2 do
  local delivery = 'triode:delivery:' .. ready[i]
  redis.call('ZADD', 'triode:deliveries:open', leased, ready[i])
  local tries = redis.call('HINCRBY', delivery, 'tries', 1)
  table.insert(taken, {ready[i], 'open', ready[i + 1], tries, redis.call('HGET', delivery, 'error')})
end
return taken
"""
MOVE_DELIVERY = """
local sid, from, to, due = unpack(ARGV, 1, 4)
local state = redis.call('HGET', 'triode:delivery:' .. sid, 'state')
if not state or (from ~= '' and from ~= state) then return 0 end
redis.call('ZREM', 'triode:deliveries:' .. state, sid)
redis.call('ZADD', 'triode:deliveries:' .. to, due, sid)
redis.call('HSET', 'triode:delivery:' .. sid, 'state', to, unpack(ARGV, 5))
return 1
"""
READ_DELIVERIES = """
local found = {}
for _, sid in ipairs(ARGV) do
  local state, tries, error = unpack(redis.call('HMGET', 'triode:delivery:' .. sid, 'state', 'tries', 'error'))
  if state then
    table.insert(found, {sid, state, redis.call('ZSCORE', 'triode:deliveries:' .. state, sid), tries, error})
  end
end
return found
"""
FORGET = """
local gone = 0
for i = 3, #ARGV do
  local sid = ARGV[i]
  local call, story, delivery = 'triode:call:' .. sid, 'triode:story:' .. sid, 'triode:delivery:' .. sid
  local caller, state = redis.call('HGET', call, 'caller'), redis.call('HGET', delivery, 'state')
  local age = redis.call('ZSCORE', 'triode:calls', sid)
  local old = ARGV[1] == '' or (state ~= 'open' and age and tonumber(age) < tonumber(ARGV[1]))
  if caller and old then
    for _, key in ipairs(redis.call('LRANGE', 'triode:errands:' .. sid, 0, -1)) do
      redis.call('DEL', 'triode:reference:' .. (redis.call('HGET', 'triode:errand:' .. key, 'reference') or ''))
      redis.call('ZREM', 'triode:open:' .. (redis.call('HGET', 'triode:errand:' .. key, 'name') or ''), key)
      redis.call('DEL', 'triode:errand:' .. key)
    end
    for _, key in ipairs(redis.call('LRANGE', 'triode:recordings:' .. sid, 0, -1)) do
      redis.call('DEL', 'triode:recording:' .. key)
    end
    redis.call('ZREM', 'triode:stories:' .. (redis.call('HGET', story, 'both') or ''), sid)
    redis.call('ZREM', 'triode:deliveries:' .. (state or ''), sid)
    redis.call('ZREM', 'triode:calls', sid)
    redis.call('SREM', 'triode:calls_of:' .. caller, sid)
    redis.call('DEL', call, story, delivery, 'triode:turns:' .. sid, 'triode:errands:' .. sid, 'triode:recordings:' .. sid)
    if ARGV[1] == '' then redis.call('SET', 'triode:forgotten:' .. sid, 1, 'EX', ARGV[2]) end
    gone = gone + 1
  end
end
return gone
"""
