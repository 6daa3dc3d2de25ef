-- Requests with the Authorization values of a file: in turns, or drawn at random.
--   wrk -s rotate.lua URL -- FILE sequential|random
local requests, at, random = {}, 0, false

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, {authorization = line})
  end
  random = args[2] == "random"
end

function request()
  if random then
    return requests[math.random(#requests)]
  end
  at = at % #requests + 1
  return requests[at]
end

dofile((debug.getinfo(1, "S").source:sub(2):gsub("rotate.lua$", "done.lua")))
