-- In the Chinese edition: no space between Chinese and a reference, nor after bold that ends in
-- Chinese punctuation. The catalogue has these spaces, for Markdown needs them.

local punctuation = { ["。"] = true, ["："] = true, ["；"] = true, ["，"] = true, ["？"] = true, ["！"] = true }

-- Whether a character is Chinese or a full-width sign
local function wide(character)
  local code = character and utf8.codepoint(character) or 0
  return code >= 0x2E80 and code <= 0x9FFF or code >= 0xFF00 and code <= 0xFFEF
    or code == 0x201C or code == 0x201D
end

local function first(text)
  return text:match("^" .. utf8.charpattern)
end

local function last(text)
  return text:match(utf8.charpattern .. "$")
end

local function is_reference(inline)
  if inline.t == "Link" then return inline.classes:includes("quarto-xref") end
  return inline.t == "RawInline" and inline.text:match("^#ref%(") ~= nil
end

local function needless(before, after)
  if is_reference(before) then return after.t == "Str" and wide(first(after.text)) end
  if is_reference(after) then return before.t == "Str" and wide(last(before.text)) end
  if before.t ~= "Strong" then return false end
  return punctuation[last(pandoc.utils.stringify(before))] ~= nil
end

function Inlines(inlines)
  local kept = pandoc.Inlines({})
  for place, inline in ipairs(inlines) do
    local before, after = inlines[place - 1], inlines[place + 1]
    local space = inline.t == "Space" or inline.t == "SoftBreak"
    if not (space and before and after and needless(before, after)) then kept:insert(inline) end
  end
  return kept
end
